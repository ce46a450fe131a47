//! The expected outcomes, from the documentation of keys and tokens.

use mayfly_auth::Scope;
use mayfly_http::routes::{RouteAccess, Subject};

use super::{
    callers::{Caller, KeyRights, Patterns, Rights, TokenRights},
    requests::Endpoint,
};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// The route requires no credentials.
    Public,
    /// The request is executed.
    Allowed,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404, as for a message that does not exist.
    NotFound,
}

use Expectation::{Allowed, Forbidden, NotFound, Public, Unauthorized};

/// Returns the expected outcome of the request of a caller.
pub fn expect(endpoint: &Endpoint, caller: &Caller) -> Expectation {
    match (endpoint.access, &caller.rights) {
        (RouteAccess::Public, _) => Public,
        (_, Rights::Nobody) | (RouteAccess::KeyParameter, Rights::Token(_)) => Unauthorized,
        (RouteAccess::KeyParameter, Rights::Key(key)) => {
            let is_allowed = has(key, "operate") || (has(key, "read") && allows(key.hosts));
            if is_allowed { Allowed } else { Unauthorized }
        }
        (RouteAccess::Scope(scope, subject), Rights::Key(key)) => {
            expect_for_key(endpoint, scope, subject, key)
        }
        (RouteAccess::Scope(scope, subject), Rights::Token(token)) => {
            expect_for_token(endpoint, scope, subject, token)
        }
    }
}

fn has(key: &KeyRights, scope: &str) -> bool {
    key.scopes.contains(&scope)
}

fn allows(patterns: Patterns) -> bool {
    patterns != Patterns::Other
}

fn allowed_or(is_allowed: bool, otherwise: Expectation) -> Expectation {
    if is_allowed { Allowed } else { otherwise }
}

/// Returns whether the request names a message by its ID.
fn is_by_id(endpoint: &Endpoint) -> bool {
    endpoint.path.ends_with("{id}")
}

/// Returns whether the request opens a stream of server-sent events, which by default contains
/// messages. A WebSocket reports subscriptions without the right in frames.
fn is_stream(endpoint: &Endpoint) -> bool {
    endpoint.path == "/v1/events"
}

fn expect_for_key(
    endpoint: &Endpoint,
    scope: Scope,
    subject: Subject,
    key: &KeyRights,
) -> Expectation {
    if has(key, "operate") {
        return Allowed;
    }
    if !has(key, scope.as_str()) {
        return Forbidden;
    }
    match subject {
        Subject::Messages if is_by_id(endpoint) => {
            allowed_or(allows(key.channels) && allows(key.usernames), NotFound)
        }
        // A list contains only the messages that the key may read.
        Subject::Messages if scope == Scope::Read => Allowed,
        Subject::Messages => {
            let has_username = allows(key.usernames) || endpoint.is_without_username();
            allowed_or(allows(key.channels) && has_username, Forbidden)
        }
        // An inbox contains messages of every channel.
        Subject::Inbox => {
            let has_channels = key.channels == Patterns::Missing;
            allowed_or(has_channels && allows(key.usernames), Forbidden)
        }
        Subject::Hosts => allowed_or(allows(key.hosts), Forbidden),
        // A stream delivers messages of every username.
        Subject::Feeds if is_stream(endpoint) => {
            allowed_or(key.usernames == Patterns::Missing, Forbidden)
        }
        Subject::Plays | Subject::Pulse | Subject::Feeds => Allowed,
    }
}

fn expect_for_token(
    endpoint: &Endpoint,
    scope: Scope,
    subject: Subject,
    token: &TokenRights,
) -> Expectation {
    let flag = |name: &str| token.claim[name] == true;
    let is_present = |name: &str| token.claim[name].is_array();
    let is_matching = |name: &str| is_present(name) && token.claim[name][0] != "other.*";
    let has_feed = |feed: &str| {
        let feeds = token.claim["feeds"].as_array();
        feeds.is_some_and(|feeds| feeds.iter().any(|one| one == feed))
    };
    let is_own = flag("inbox") && token.is_subject;
    match (scope, subject) {
        (Scope::Publish, Subject::Messages) => {
            // Another username than the subject is not allowed. Without one, the subject is used.
            let has_username = token.is_subject || endpoint.is_without_username();
            allowed_or(is_matching("publish") && has_username, Forbidden)
        }
        (Scope::Publish, Subject::Plays) => allowed_or(flag("plays"), Forbidden),
        (Scope::Publish, Subject::Hosts) => allowed_or(is_matching("visits"), Forbidden),
        (Scope::Read, Subject::Messages) if !is_present("subscribe") && !flag("inbox") => Forbidden,
        (Scope::Read, Subject::Messages) if is_by_id(endpoint) => {
            allowed_or(is_matching("subscribe") || is_own, NotFound)
        }
        (Scope::Read, Subject::Messages) => Allowed,
        (Scope::Take, Subject::Messages) if !flag("inbox") => Forbidden,
        (Scope::Take, Subject::Messages) => allowed_or(is_own, NotFound),
        (Scope::Read | Scope::Take, Subject::Inbox) => allowed_or(is_own, Forbidden),
        (Scope::Read, Subject::Plays) => allowed_or(has_feed("plays"), Forbidden),
        (Scope::Read, Subject::Pulse) => allowed_or(has_feed("pulse"), Forbidden),
        (Scope::Read, Subject::Hosts) => allowed_or(is_matching("hosts"), Forbidden),
        (Scope::Subscribe, Subject::Feeds) if is_stream(endpoint) => {
            allowed_or(is_present("subscribe"), Forbidden)
        }
        (Scope::Subscribe, Subject::Feeds) => {
            allowed_or(is_present("subscribe") || is_present("feeds"), Forbidden)
        }
        (scope, subject) => panic!("no expectation is defined for {scope:?} {subject:?}"),
    }
}
