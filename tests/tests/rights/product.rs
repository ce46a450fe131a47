//! The decisions of the product: the authenticator with a real Redis, the table of routes, and the
//! functions with which the handlers check names.

use std::{io::Write, sync::Arc};

use ingest_api::rights::{authorize_batch, authorize_message, authorize_plays, authorize_visits};
use list_api::rights::{MessageRights, ReadablePart, find_readable_part};
use mayfly_auth::{
    Access, Credentials, Identity, Key, KeyLimits, Names, RateText, ReadableMessages, Scope,
};
use mayfly_authenticator::{AuthError, Authenticator};
use mayfly_cold::PageRequest;
use mayfly_core::{
    Channel, Feed, Host, KeyHash, MessageId, NewMessage, Order, PagePath, Timestamp,
    TokenRevocation, Username, Visit, Visitor, message::MessageView,
};
use mayfly_hot::HotStore;
use mayfly_http::{
    Problem,
    routes::{self, RouteAccess, Subject, frames::FRAMES},
};
use mayfly_runtime::{Health, Lifecycle, Settings};
use mayfly_stack::SharedRedis;
use mayfly_tests::{DEFAULT_TIMEOUT, load_credentials};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    generator::{self, SECRETS},
    reference::{self, Caller, Decision, Grant, Patterns, Request, Secret, Site},
};

/// The address of the callers.
const CLIENT: &str = "192.0.2.1";

/// The access control of an installation.
pub struct Product {
    authenticator: Arc<Authenticator>,
    _secret_file: NamedTempFile,
}

/// The results of the authentication of a caller.
pub struct Authenticated {
    /// The identity. `None` if the credentials are missing or invalid.
    identity: Option<Identity>,
    /// The key in the query of the one route that requires it there.
    key: Option<Arc<Key>>,
}

impl Product {
    /// Starts an installation with the keys of these callers.
    pub async fn start(site: &Site, callers: &[generator::Credentials]) -> Self {
        let mut secret_file = NamedTempFile::new().expect("a temporary file");
        writeln!(secret_file, "{}", SECRETS.join("\n")).expect("the secrets are written");
        let settings = settings(site, &secret_file.path().display().to_string()).await;
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        load(&hot, site, callers).await;
        let health = Health::new(Lifecycle::new(DEFAULT_TIMEOUT));
        let authenticator = Authenticator::start(&hot, &settings, &health);
        let mut changes = authenticator.changes();
        let loaded = timeout(DEFAULT_TIMEOUT, changes.changed()).await;
        loaded.expect("the versions are read").expect("the authenticator exists");
        Self { authenticator, _secret_file: secret_file }
    }

    /// Authenticates a caller.
    pub async fn authenticate(&self, caller: &generator::Credentials) -> Authenticated {
        let authenticator = &self.authenticator;
        let key = match &caller.text {
            Some(text) => identified(authenticator.authenticate_key(text, CLIENT).await),
            None => None,
        };
        let parsed = caller.text.as_deref().map(Credentials::parse).transpose();
        let identity = match parsed {
            _ if authenticator.is_open() => Some(Identity::Open),
            Ok(credentials) => {
                let first = authenticator.authenticate(credentials.as_ref(), CLIENT).await;
                let second = authenticator.authenticate(credentials.as_ref(), CLIENT).await;
                assert_eq!(first.is_ok(), second.is_ok(), "the cache differs: {:?}", caller.caller);
                identified(second)
            }
            Err(_) => None,
        };
        Authenticated { identity, key }
    }
}

async fn settings(site: &Site, secret_file: &str) -> Settings {
    let url = SharedRedis::get().await.expect("Redis starts").url();
    let prefix = format!("t{}", Uuid::now_v7().simple());
    let env = [
        ("MAYFLY_REDIS__URL", url),
        ("MAYFLY_REDIS__PREFIX", &prefix),
        // A busy machine must not fail a test.
        ("MAYFLY_REDIS__TIMEOUT", "20s"),
        ("MAYFLY_REDIS__QUEUE_TIMEOUT", "10s"),
        ("MAYFLY_LIMITS__AUTH_FAILURES", "off"),
        ("MAYFLY_AUTH__MODE", if site.checks_credentials { "keys" } else { "open" }),
        ("MAYFLY_AUTH__ANONYMOUS", &site.anonymous.join(",")),
        ("MAYFLY_AUTH__ISSUER", &site.issuers.join(",")),
        ("MAYFLY_AUTH__AUDIENCE", &site.audiences.join(",")),
        ("MAYFLY_AUTH__SECRET_FILE", secret_file),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings::from_layers(None, env.into_iter()).expect("valid settings")
}

/// Loads the keys and revocations.
async fn load(hot: &HotStore, site: &Site, callers: &[generator::Credentials]) {
    let keys: Vec<_> = callers.iter().flat_map(stored_keys).collect();
    let ids = site.revoked_ids.iter().map(|id| TokenRevocation::Token(id.clone()));
    let subjects = site.revoked_subjects.iter().map(|(subject, before)| {
        let issued_before = Timestamp::from_millis(before * 1_000);
        TokenRevocation::Subject { subject: subject.clone(), issued_before }
    });
    load_credentials(hot, &keys, &ids.chain(subjects).collect::<Vec<_>>()).await;
}

/// Returns the stored secrets of a caller's key: the current one and, after a rotation, also the
/// previous one, which expires with the key or with the overlap.
fn stored_keys(caller: &generator::Credentials) -> Vec<(KeyHash, Key)> {
    let (Caller::Key(key), Some(text)) = (&caller.caller, &caller.text) else { return Vec::new() };
    let stored = |text: &str, until: Option<i64>| {
        let expires_at = key.expires_at.into_iter().chain(until).min();
        let expires_at = expires_at.map(|seconds| Timestamp::from_millis(seconds * 1_000));
        (KeyHash::from_key(text), Key { expires_at, ..to_key(key) })
    };
    let other = format!("{}x", &text[..text.len() - 1]);
    match key.secret {
        Secret::Current => vec![stored(text, None)],
        Secret::Previous(until) => vec![stored(&other, None), stored(text, Some(until))],
        Secret::Wrong => vec![stored(&other, None)],
        Secret::UnknownKey => Vec::new(),
    }
}

fn to_key(key: &reference::Key) -> Key {
    let names = |patterns: &Patterns| match patterns {
        Some(list) => Names::parse(list.iter().cloned()).expect("valid patterns"),
        None => Names::All,
    };
    let [messages, plays, visits] = limits(key);
    Key {
        id: Uuid::now_v7(),
        scopes: key.scopes.iter().filter_map(|name| Scope::parse(name).ok()).collect(),
        channels: names(&key.channels),
        usernames: names(&key.usernames),
        hosts: match &key.hosts {
            Some(list) => Names::parse_key_hosts(list.iter().cloned()).expect("valid patterns"),
            None => Names::All,
        },
        limits: KeyLimits { messages, plays, visits },
        expires_at: None,
        is_revoked: key.is_revoked,
    }
}

fn limits(key: &reference::Key) -> [Option<RateText>; 3] {
    key.limits.map(|rate| rate.map(|rate| RateText::parse(rate).expect("a rate")))
}

/// Returns the result of a successful authentication; `None` if the credentials are missing or
/// invalid.
///
/// # Panics
/// If the credentials could not be checked.
fn identified<T>(result: Result<T, AuthError>) -> Option<T> {
    match result {
        Ok(result) => Some(result),
        Err(AuthError::Missing | AuthError::Invalid(_)) => None,
        Err(error) => panic!("the credentials cannot be checked: {error:?}"),
    }
}

impl Authenticated {
    /// Returns whether the caller has exactly the limits of its key, and no key has others.
    pub fn has_limits_of(&self, caller: &Caller) -> bool {
        match (&self.identity, caller) {
            (Some(Identity::Key(key)), Caller::Key(expected)) => {
                let KeyLimits { messages, plays, visits } = key.limits;
                [messages, plays, visits] == limits(expected)
            }
            (Some(Identity::Key(_)), _) => false,
            _ => true,
        }
    }

    /// Decides on a request of the caller.
    pub fn decide(&self, request: &Request) -> Decision {
        let access = find_access(request.method, request.path);
        let (scope, subject) = match access {
            RouteAccess::Public => return Decision::Allowed(Grant::default()),
            RouteAccess::KeyParameter => {
                let identity = self.key.clone().map(Identity::Key);
                let host = host(request);
                let access = Access::ReadHost { host: host.as_str() };
                let is_allowed = identity.is_some_and(|identity| identity.allows(&access));
                return check(is_allowed, Decision::Unauthorized);
            }
            RouteAccess::Scope(scope, subject) => (scope, subject),
        };
        match &self.identity {
            Some(identity) if access.admits(identity) => {
                decide_in_handler(identity, scope, subject, request)
            }
            // Other credentials may have the right.
            None | Some(Identity::Open | Identity::Anonymous(_)) => Decision::Unauthorized,
            Some(Identity::Key(_) | Identity::Token(_)) => Decision::Forbidden,
        }
    }
}

/// Returns the access that the tables of routes and frames require.
pub fn find_access(method: &str, path: &str) -> RouteAccess {
    let access = if method == "frame" {
        FRAMES.into_iter().find(|frame| frame.kind == path).map(|frame| frame.access)
    } else {
        let route = routes::ALL.into_iter().flatten().find(|route| route.path == path);
        route.and_then(|route| route.access(method))
    };
    access.expect("the tables contain the request")
}

fn decide_in_handler(
    identity: &Identity,
    scope: Scope,
    subject: Subject,
    request: &Request,
) -> Decision {
    let allows = |access: &Access<'_>| check(identity.allows(access), Decision::Forbidden);
    let host = host(request);
    let host = host.as_str();
    let username = request.inbox.as_str();
    match (scope, subject) {
        (Scope::Publish, Subject::Messages) => publish(identity, request),
        (Scope::Publish, Subject::Plays) => checked(authorize_plays(identity)),
        (Scope::Publish, Subject::Hosts) => {
            let visit = Visit {
                host: Host::parse(host).expect("a host"),
                path: PagePath::parse("/").expect("a path"),
                title: None,
                visitor: Visitor::parse("visitor").expect("a visitor"),
            };
            checked(authorize_visits(identity, &[visit], false))
        }
        (Scope::Read, Subject::Messages) if request.path.ends_with("{id}") => check(
            MessageRights::to_read(identity).include_start(&json(request)),
            Decision::NotFound,
        ),
        (Scope::Take, Subject::Messages) => check(
            MessageRights::to_delete(identity).include_start(&json(request)),
            Decision::NotFound,
        ),
        (Scope::Read, Subject::Messages) => list(identity, request),
        (Scope::Read, Subject::Inbox) => allows(&Access::ReadInbox { username }),
        (Scope::Take, Subject::Inbox) => allows(&Access::TakeInbox { username }),
        (Scope::Read, Subject::Plays) => allows(&Access::ReadPlays),
        (Scope::Read, Subject::Pulse) => allows(&Access::ReadPulse),
        (Scope::Read, Subject::Hosts) => allows(&Access::ReadHost { host }),
        (Scope::Subscribe, Subject::Feeds) => live(identity, request),
        (scope, subject) => panic!("no handler is known for {scope:?} {subject:?}"),
    }
}

fn publish(identity: &Identity, request: &Request) -> Decision {
    let mut messages = [NewMessage {
        channel: channel(&request.channel),
        username: request.username.as_deref().map(username),
        ..NewMessage::default()
    }];
    let outcome = if request.path.ends_with("/batch") {
        authorize_batch(identity, &mut messages)
    } else {
        authorize_message(identity, &mut messages[0])
    };
    let [message] = messages;
    let author = message.username.map(|username| username.as_str().to_owned());
    match outcome {
        Ok(()) => Decision::Allowed(Grant { author, ..Grant::default() }),
        Err(problem) => refused(&problem),
    }
}

fn list(identity: &Identity, request: &Request) -> Decision {
    let page = PageRequest {
        limit: 50,
        order: Order::Asc,
        after: None,
        channel: request.of_channel.as_deref().map(channel),
        username: request.of_username.as_deref().map(username),
    };
    let readable: ReadableMessages<'_> = identity.readable_messages();
    let names = (request.channel.as_str(), request.username.as_deref());
    let is_visible = match find_readable_part(identity, &page) {
        Ok(ReadablePart::All) => true,
        Ok(ReadablePart::Some(None)) => readable.matches(names.0, names.1),
        // The list is searched for these names only.
        Ok(ReadablePart::Some(Some(searched))) => {
            let is_found = searched.channels.contains(&names.0)
                || names.1.is_some_and(|username| searched.usernames.contains(&username));
            is_found && readable.matches(names.0, names.1)
        }
        Err(problem) => return refused(&problem),
    };
    Decision::Allowed(Grant { is_visible, ..Grant::default() })
}

fn live(identity: &Identity, request: &Request) -> Decision {
    if !identity.allows(&Access::Connect) {
        return Decision::Forbidden;
    }
    let host = host(request);
    let names = [
        ("channel", Access::Subscribe { channel: &request.channel }),
        ("host", Access::SubscribeHost { host: host.as_str() }),
    ];
    let feeds = [Feed::Plays, Feed::Rising, Feed::Stats, Feed::Pulse];
    let feeds = feeds.map(|feed| (feed.as_str(), Access::SubscribeFeed { feed }));
    let allowed = names.iter().chain(&feeds).filter(|(_, access)| identity.allows(access));
    Decision::Allowed(Grant {
        is_visible: identity.subscribable_channels().matches(&request.channel),
        live: allowed.map(|(name, _)| *name).collect(),
        ..Grant::default()
    })
}

fn check(is_allowed: bool, otherwise: Decision) -> Decision {
    if is_allowed { Decision::Allowed(Grant::default()) } else { otherwise }
}

fn checked(outcome: Result<(), Problem>) -> Decision {
    outcome.map_or_else(|problem| refused(&problem), |()| Decision::Allowed(Grant::default()))
}

fn refused(problem: &Problem) -> Decision {
    match problem.code().status().as_u16() {
        403 => Decision::Forbidden,
        status => panic!("{status}: {problem:?}"),
    }
}

/// Returns the message of a request as it is stored.
fn json(request: &Request) -> Vec<u8> {
    let message = MessageView {
        id: MessageId::from(Uuid::nil()),
        channel: request.channel.as_str().into(),
        username: request.username.clone(),
        text: Some("x".to_owned()),
        city: None,
        state: None,
        data: None,
        created_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(0),
    };
    message.to_json()
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).expect("a channel")
}

fn username(name: &str) -> Username {
    Username::parse(name).expect("a username")
}

fn host(request: &Request) -> Host {
    Host::parse(request.host.as_str()).expect("a host")
}
