//! The rules of access, written from the documentation and separately from the product, to verify
//! every decision. They favor brevity over speed, and share no code with the product.

use std::collections::BTreeSet;

/// The tolerance for clocks that differ.
const LEEWAY_S: i64 = 30;

/// The configuration and the revocations of an installation.
#[derive(Debug, Clone)]
pub struct Site {
    /// Whether the mode is `keys`, not `open`.
    pub checks_credentials: bool,
    /// The scopes of callers without credentials.
    pub anonymous: Vec<&'static str>,
    /// The accepted issuers and audiences. Empty: the claims are not checked.
    pub issuers: Vec<String>,
    pub audiences: Vec<String>,
    /// The revoked token IDs, and the subjects with the time before which tokens are revoked.
    pub revoked_ids: Vec<String>,
    pub revoked_subjects: Vec<(String, i64)>,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// A caller with the credentials in a request.
#[derive(Debug, Clone)]
pub enum Caller {
    Anonymous,
    Malformed,
    Key(Key),
    Token(Token),
}

/// An API key, and the secret in the request.
#[derive(Debug, Clone)]
pub struct Key {
    pub scopes: Vec<&'static str>,
    pub channels: Patterns,
    pub usernames: Patterns,
    pub hosts: Patterns,
    /// The limits for messages, plays and visits, which replace the configured ones.
    pub limits: [Option<&'static str>; 3],
    pub expires_at: Option<i64>,
    pub is_revoked: bool,
    pub secret: Secret,
}

/// A list of patterns. `None` allows all names of a key, and no name of a token.
pub type Patterns = Option<Vec<String>>;

/// The secret in a request with a key.
#[derive(Debug, Clone, Copy)]
pub enum Secret {
    Current,
    /// The secret before the last rotation, which is valid until the given time.
    Previous(i64),
    Wrong,
    /// The ID of the key is unknown.
    UnknownKey,
}

/// The claims of a token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whether an accepted secret has signed the token with an accepted algorithm.
    pub is_genuine: bool,
    pub subject: Option<String>,
    pub expires_at: Option<i64>,
    pub not_before: Option<i64>,
    pub issued_at: Option<i64>,
    pub issuer: Option<String>,
    pub audiences: Vec<String>,
    pub id: Option<String>,
    /// The members of the claim `mayfly`.
    pub publish: Patterns,
    pub subscribe: Patterns,
    pub feeds: Option<Vec<&'static str>>,
    pub hosts: Patterns,
    pub visits: Patterns,
    pub inbox: Option<bool>,
    pub plays: Option<bool>,
}

/// A request, or a frame of a client: a method of a route, or `frame` and the type of the frame,
/// and all names that it can contain.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: &'static str,
    /// The channel and username of the message that is published, read or delivered.
    pub channel: String,
    pub username: Option<String>,
    /// The username whose inbox is read or taken.
    pub inbox: String,
    pub host: String,
    /// The filters of a list.
    pub of_channel: Option<String>,
    pub of_username: Option<String>,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Unauthorized,
    Forbidden,
    NotFound,
    Allowed(Grant),
}

/// The extent of an allowed request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The username of a published message.
    pub author: Option<String>,
    /// Whether a list or a subscription to all channels contains the message.
    pub is_visible: bool,
    /// The feeds that the caller may subscribe to, and `channel` and `host` if it may subscribe to
    /// the channel and the pages of the host in the request.
    pub live: BTreeSet<&'static str>,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Public,
    Publish,
    Play,
    Visit,
    Get,
    List,
    Inbox,
    Plays,
    Hosts,
    Increasing,
    Pulse,
    Take,
    Delete,
    Live,
}

/// Returns the kind of a request.
fn action(method: &str, path: &str) -> Action {
    match (if method == "HEAD" { "GET" } else { method }, path) {
        ("POST", "/v1/messages" | "/v1/messages/batch" | "/chat" | "/chat/" | "/dummy")
        | ("GET" | "POST", "/message/write" | "/message/write/") => Action::Publish,
        ("POST", "/v1/plays") => Action::Play,
        ("POST", "/v1/visits") => Action::Visit,
        ("GET", "/v1/messages/{id}" | "/chat/{id}") => Action::Get,
        ("GET", "/v1/messages") => Action::List,
        ("GET", "/v1/users/{username}/messages") => Action::Inbox,
        ("GET", "/v1/plays" | "/v1/plays/{video_id}") => Action::Plays,
        ("GET", path) if path.starts_with("/v1/hosts/{host}/") => Action::Hosts,
        ("GET", "/api/v1.0/increasingconcurrents") => Action::Increasing,
        ("GET", "/v1/pulse") => Action::Pulse,
        ("POST", "/v1/users/{username}/messages/take") | ("GET", "/chats/{username}") => {
            Action::Take
        }
        ("DELETE", "/v1/messages/{id}") => Action::Delete,
        ("GET", "/v1/live" | "/ws" | "/echo" | "/v1/events")
        | ("frame", "connect" | "auth" | "subscribe") => Action::Live,
        // The frames need no right beyond those of the open connection.
        ("frame", "unsubscribe" | "ping")
        | (
            "GET",
            "/" | "/docs" | "/openapi.json" | "/health" | "/config.json" | "/v1/stats"
            | "/stat/get" | "/stat/get/",
        ) => Action::Public,
        _ => panic!("no rule is defined for {method} {path}"),
    }
}

const FEEDS: [&str; 4] = ["plays", "rising", "stats", "pulse"];

/// Decides on a request.
pub fn decide(site: &Site, caller: &Caller, request: &Request) -> Decision {
    let action = action(request.method, request.path);
    let everything = Key { scopes: vec!["operate"], ..Key::default() };
    match caller {
        _ if action == Action::Public => Decision::Allowed(Grant::default()),
        // This route requires a key in its query in both modes, and responds to all others alike.
        Caller::Key(key) if action == Action::Increasing && is_valid_key(site, key) => {
            match decide_for_key(key, Action::Hosts, request) {
                Decision::Forbidden => Decision::Unauthorized,
                decision => decision,
            }
        }
        _ if action == Action::Increasing => Decision::Unauthorized,
        _ if !site.checks_credentials => decide_for_key(&everything, action, request),
        Caller::Anonymous if site.anonymous.is_empty() => Decision::Unauthorized,
        Caller::Anonymous => {
            let key = Key { scopes: site.anonymous.clone(), ..Key::default() };
            // Other credentials would help.
            match decide_for_key(&key, action, request) {
                Decision::Forbidden => Decision::Unauthorized,
                decision => decision,
            }
        }
        Caller::Key(key) if is_valid_key(site, key) => decide_for_key(key, action, request),
        Caller::Token(token) if is_valid_token(site, token) => {
            decide_for_token(token, action, request)
        }
        Caller::Malformed | Caller::Key(_) | Caller::Token(_) => Decision::Unauthorized,
    }
}

fn is_valid_key(site: &Site, key: &Key) -> bool {
    let is_secret_valid = match key.secret {
        Secret::Current => true,
        Secret::Previous(until) => site.now < until,
        Secret::Wrong | Secret::UnknownKey => false,
    };
    is_secret_valid && !key.is_revoked && key.expires_at.is_none_or(|time| site.now < time)
}

fn is_valid_token(site: &Site, token: &Token) -> bool {
    let Some(subject) = &token.subject else { return false };
    let is_from_past = |time: Option<i64>| time.is_none_or(|time| time <= site.now + LEEWAY_S);
    let is_revoked = token.id.as_ref().is_some_and(|id| site.revoked_ids.contains(id))
        || site.revoked_subjects.iter().any(|(revoked, before)| {
            revoked == subject && token.issued_at.is_none_or(|time| time < *before)
        });
    let (issuers, audiences) = (&site.issuers, &site.audiences);
    token.is_genuine
        && token.expires_at.is_some_and(|time| site.now < time + LEEWAY_S)
        && is_from_past(token.not_before)
        && is_from_past(token.issued_at)
        && (issuers.is_empty() || token.issuer.as_ref().is_some_and(|one| issuers.contains(one)))
        && (audiences.is_empty() || token.audiences.iter().any(|one| audiences.contains(one)))
        && !is_revoked
}

fn decide_for_key(key: &Key, action: Action, request: &Request) -> Decision {
    let is_operator = key.scopes.contains(&"operate");
    let has = |scope| is_operator || key.scopes.contains(&scope);
    let allows = |patterns: &Patterns, name: &str| {
        is_operator || patterns.as_ref().is_none_or(|list| matches_any(list, name))
    };
    let allows_all = |patterns: &Patterns| {
        is_operator || patterns.as_ref().is_none_or(|list| list.iter().any(|one| matches_all(one)))
    };
    let allows_host = allows(&lowercase(&key.hosts), &request.host.to_lowercase());
    let allows_username =
        |name: &Option<String>| name.as_ref().is_none_or(|name| allows(&key.usernames, name));
    let allows_message =
        allows(&key.channels, &request.channel) && allows_username(&request.username);
    let allows_inbox = allows_all(&key.channels) && allows(&key.usernames, &request.inbox);
    match action {
        Action::Publish => {
            grant(has("publish") && allows_message, Grant::of_author(request.username.as_ref()))
        }
        Action::Play => grant(has("publish"), Grant::default()),
        Action::Visit => grant(has("publish") && allows_host, Grant::default()),
        Action::Get if has("read") => found(allows_message),
        Action::List => {
            // A key for no channel has no right to any list.
            let of_channel = match &request.of_channel {
                Some(name) => allows(&key.channels, name),
                None => is_operator || key.channels.as_ref().is_none_or(|list| !list.is_empty()),
            };
            let is_allowed = has("read") && of_channel && allows_username(&request.of_username);
            grant(is_allowed, Grant { is_visible: allows_message, ..Grant::default() })
        }
        Action::Inbox => grant(has("read") && allows_inbox, Grant::default()),
        Action::Take => grant(has("take") && allows_inbox, Grant::default()),
        Action::Delete if has("take") => found(allows_message),
        Action::Plays | Action::Pulse => {
            let is_for_hosts = is_empty(&key.channels) && is_empty(&key.usernames);
            grant(has("read") && (is_operator || !is_for_hosts), Grant::default())
        }
        Action::Hosts => grant(has("read") && allows_host, Grant::default()),
        Action::Live => {
            // A subscription delivers the messages of every username.
            let is_visible = allows_all(&key.usernames) && allows(&key.channels, &request.channel);
            let names = [("channel", is_visible), ("host", allows_host)];
            let names =
                names.into_iter().filter_map(|(name, is_allowed)| is_allowed.then_some(name));
            let live = FEEDS.into_iter().chain(names).collect();
            grant(has("subscribe"), Grant { is_visible, live, ..Grant::default() })
        }
        Action::Get | Action::Delete => Decision::Forbidden,
        Action::Public | Action::Increasing => panic!("the right does not depend on the scopes"),
    }
}

fn decide_for_token(token: &Token, action: Action, request: &Request) -> Decision {
    let subject = token.subject.as_deref().expect("a valid token has a subject");
    let allows = |list: &Patterns, name| list.as_ref().is_some_and(|list| matches_any(list, name));
    let is_granted = |list: &Patterns| list.as_ref().is_some_and(|list| !list.is_empty());
    let has_feed = |name| token.feeds.as_ref().is_some_and(|feeds| feeds.contains(&name));
    let has_inbox = token.inbox == Some(true);
    let is_own = |name: &str| has_inbox && name == subject;
    let is_own_message = request.username.as_deref().is_some_and(is_own);
    let allows_channel = allows(&token.subscribe, &request.channel);
    let host = request.host.to_lowercase();
    let reads_messages = is_granted(&token.subscribe) || has_inbox;
    match action {
        Action::Publish => {
            let is_subject = request.username.as_ref().is_none_or(|name| name == subject);
            let is_allowed = allows(&token.publish, &request.channel) && is_subject;
            grant(is_allowed, Grant::of_author(token.subject.as_ref()))
        }
        Action::Play => grant(token.plays == Some(true), Grant::default()),
        Action::Visit => grant(allows(&lowercase(&token.visits), &host), Grant::default()),
        Action::Get if reads_messages => found(allows_channel || is_own_message),
        Action::List if reads_messages => {
            // A filter needs the right to its name, except that the inbox has every channel.
            let is_filter_allowed = match (&request.of_channel, &request.of_username) {
                (_, Some(name)) if is_own(name) => true,
                (Some(name), _) => allows(&token.subscribe, name),
                (None, Some(_)) => is_granted(&token.subscribe),
                (None, None) => true,
            };
            let is_visible = allows_channel || is_own_message;
            grant(is_filter_allowed, Grant { is_visible, ..Grant::default() })
        }
        Action::Inbox | Action::Take => grant(is_own(&request.inbox), Grant::default()),
        Action::Delete if has_inbox => found(is_own_message),
        Action::Plays => grant(has_feed("plays"), Grant::default()),
        Action::Pulse => grant(has_feed("pulse"), Grant::default()),
        Action::Hosts => grant(allows(&lowercase(&token.hosts), &host), Grant::default()),
        Action::Live => {
            // The pages of a host are in the feed `rising`.
            let is_host = has_feed("rising") && allows(&lowercase(&token.hosts), &host);
            let names = [("channel", allows_channel), ("host", is_host)];
            let names =
                names.into_iter().filter_map(|(name, is_allowed)| is_allowed.then_some(name));
            let live = FEEDS.into_iter().filter(|feed| has_feed(*feed)).chain(names).collect();
            let is_allowed = is_granted(&token.subscribe) || FEEDS.into_iter().any(has_feed);
            grant(is_allowed, Grant { is_visible: allows_channel, live, ..Grant::default() })
        }
        Action::Get | Action::List | Action::Delete => Decision::Forbidden,
        Action::Public | Action::Increasing => panic!("the right does not depend on the claims"),
    }
}

fn is_empty(patterns: &Patterns) -> bool {
    patterns.as_ref().is_some_and(Vec::is_empty)
}

fn matches_all(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.chars().all(|one| one == '*')
}

fn grant(is_allowed: bool, grant: Grant) -> Decision {
    if is_allowed { Decision::Allowed(grant) } else { Decision::Forbidden }
}

fn found(is_allowed: bool) -> Decision {
    if is_allowed { Decision::Allowed(Grant::default()) } else { Decision::NotFound }
}

fn lowercase(patterns: &Patterns) -> Patterns {
    patterns.as_ref().map(|list| list.iter().map(|one| one.to_lowercase()).collect())
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Returns whether a name matches a pattern, in which `*` matches any run of characters.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|index| matches(rest, &name[index..])),
        Some((first, rest)) => name.first() == Some(first) && matches(rest, &name[1..]),
    }
}

impl Default for Key {
    /// A valid key without scopes and patterns.
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            channels: None,
            usernames: None,
            hosts: None,
            limits: [None; 3],
            expires_at: None,
            is_revoked: false,
            secret: Secret::Current,
        }
    }
}

impl Grant {
    fn of_author(username: Option<&String>) -> Self {
        Self { author: username.cloned(), ..Self::default() }
    }
}
