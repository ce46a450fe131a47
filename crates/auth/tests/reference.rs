//! Compares the decisions of `Identity` with the ones of a reference that is written separately,
//! from the JSON of the credentials, for random credentials and actions.

use std::sync::Arc;

use fastrand::Rng;
use mayfly_auth::{Access, Identity, Scopes, Token};
use mayfly_core::{Feed, Username};
use serde_json::{Value, json};

/// The names of actions, as the reference uses them.
const ACTIONS: [&str; 15] = [
    "publish",
    "report plays",
    "report visits",
    "read",
    "list",
    "read inbox",
    "take",
    "delete",
    "read plays",
    "read host",
    "read pulse",
    "receive",
    "receive feed",
    "receive host",
    "connect",
];
const NAMES: [&str; 6] = ["a", "b", "ab", "a.b", "a.c", "*"];
const PATTERNS: [&str; 8] = ["*", "a", "b", "a.*", "*b", "*.*", "a*c", "**b*"];

/// An action and everything that it could concern.
#[derive(Debug, Clone, Copy)]
struct Action {
    name: &'static str,
    channel: &'static str,
    username: Option<&'static str>,
    host: &'static str,
    feed: &'static str,
}

/// The reference: returns whether a caller, given as JSON, may do something.
fn is_allowed(caller: &Value, action: Action) -> bool {
    let Action { name, channel, username, host, feed } = action;
    match caller["kind"].as_str() {
        Some("open") => true,
        Some("token") => {
            let claim = |name: &str| &caller["mayfly"][name];
            let some = |name: &str| claim(name).as_array().is_some_and(|list| !list.is_empty());
            let feeds = |feed: &str| {
                claim("feeds").as_array().is_some_and(|all| all.contains(&json!(feed)))
            };
            let is_own = username == caller["sub"].as_str();
            let is_in_inbox = claim("inbox") == true && is_own;
            match name {
                "publish" => is_listed(claim("publish"), channel) && (username.is_none() || is_own),
                "report plays" => claim("plays") == true,
                "report visits" => is_listed(claim("visits"), host),
                "read" => is_listed(claim("subscribe"), channel) || is_in_inbox,
                "list" => some("subscribe") || claim("inbox") == true,
                "read inbox" | "take" | "delete" => is_in_inbox,
                "read plays" => feeds("plays"),
                "read pulse" => feeds("pulse"),
                "read host" => is_listed(claim("hosts"), host),
                "receive" => is_listed(claim("subscribe"), channel),
                "receive feed" if feed == "messages" => some("subscribe"),
                "receive feed" => feeds(feed),
                "receive host" => is_listed(claim("hosts"), host) && feeds("rising"),
                // The feed `messages` alone requires a channel.
                "connect" => {
                    some("subscribe")
                        || Feed::ALL
                            .map(Feed::as_str)
                            .into_iter()
                            .any(|feed| feed != "messages" && feeds(feed))
                }
                other => panic!("{other}"),
            }
        }
        _ => {
            let scopes = caller["scopes"].as_array().expect("scopes");
            let scope = match name {
                "publish" | "report plays" | "report visits" => "publish",
                "receive" | "receive feed" | "receive host" | "connect" => "subscribe",
                "take" | "delete" => "take",
                _ => "read",
            };
            let covers =
                |list: &str, name| caller[list].is_null() || is_listed(&caller[list], name);
            // A list that covers everything that there could be.
            let is_free = |list: &str| covers(list, "any name at all");
            let is_covered = match name {
                "publish" | "read" | "delete" => {
                    covers("channels", channel)
                        && username.is_none_or(|name| covers("usernames", name))
                }
                "read inbox" | "take" => {
                    is_free("channels") && username.is_some_and(|name| covers("usernames", name))
                }
                "receive" => covers("channels", channel) && is_free("usernames"),
                "receive feed" if feed == "messages" => is_free("usernames"),
                "report visits" | "read host" | "receive host" => covers("hosts", host),
                // A key for hosts only.
                "read plays" | "read pulse" => {
                    caller["channels"] != json!([]) || caller["usernames"] != json!([])
                }
                _ => true,
            };
            scopes.contains(&json!("operate")) || (scopes.contains(&json!(scope)) && is_covered)
        }
    }
}

fn is_listed(list: &Value, name: &str) -> bool {
    let patterns = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    patterns.into_iter().any(|pattern| is_match(pattern.as_bytes(), name.as_bytes()))
}

fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) if is_match(rest, name) => true,
        ([b'*', ..], [_, name @ ..]) => is_match(pattern, name),
        ([own, rest @ ..], [first, name @ ..]) => own == first && is_match(rest, name),
        _ => false,
    }
}

fn choose<T: Copy>(random: &mut Rng, all: &[T]) -> T {
    *random.choice(all).expect("a choice")
}

/// Returns a random list of up to three values.
fn choose_list(random: &mut Rng, all: &[&str]) -> Value {
    (0..random.usize(..4)).map(|_| choose(random, all)).collect()
}

/// Returns random credentials as JSON.
fn create_caller(random: &mut Rng) -> Value {
    let kind =
        choose(random, &["open", "anonymous", "key", "key", "key", "token", "token", "token"]);
    let mut caller = json!({ "kind": kind });
    let scopes = ["publish", "subscribe", "read", "take", "publish", "read", "operate"];
    caller["scopes"] = choose_list(random, &scopes);
    if kind == "token" {
        let mut rights = json!({});
        for list in ["publish", "subscribe", "hosts", "visits"] {
            if random.bool() {
                rights[list] = choose_list(random, &PATTERNS);
            }
        }
        if random.bool() {
            rights["feeds"] = choose_list(random, &Feed::ALL.map(Feed::as_str));
        }
        for flag in ["inbox", "plays"] {
            if random.bool() {
                rights[flag] = random.bool().into();
            }
        }
        caller["sub"] = choose(random, &NAMES).into();
        caller["mayfly"] = rights;
    } else if kind == "key" {
        caller["id"] = "00000000-0000-0000-0000-000000000001".into();
        caller["is_revoked"] = false.into();
        for list in ["channels", "usernames", "hosts"] {
            if random.bool() {
                caller[list] = choose_list(random, &PATTERNS);
            }
        }
    }
    caller
}

fn to_identity(caller: &Value) -> Identity {
    match caller["kind"].as_str() {
        Some("open") => Identity::Open,
        Some("anonymous") => {
            let scopes = serde_json::from_value::<Scopes>(caller["scopes"].clone());
            Identity::Anonymous(scopes.expect("scopes"))
        }
        Some("key") => {
            let mut key = caller.clone();
            key.as_object_mut().expect("an object").remove("kind");
            Identity::Key(Arc::new(serde_json::from_value(key).expect("a key")))
        }
        _ => Identity::Token(Arc::new(Token {
            subject: Username::parse(caller["sub"].as_str().expect("a name")).expect("a username"),
            id: None,
            issued_at: None,
            expires_at: 0,
            rights: serde_json::from_value(caller["mayfly"].clone()).expect("rights"),
        })),
    }
}

fn create_action(random: &mut Rng) -> Action {
    let name = choose(random, &ACTIONS);
    let is_inbox = name == "read inbox" || name == "take";
    Action {
        name,
        channel: choose(random, &NAMES),
        username: (is_inbox || random.bool()).then(|| choose(random, &NAMES)),
        host: choose(random, &NAMES),
        feed: choose(random, &Feed::ALL).as_str(),
    }
}

fn to_access(action: Action) -> Access<'static> {
    let Action { name, channel, username, host, feed } = action;
    let owner = username.unwrap_or_default();
    match name {
        "publish" => Access::PublishMessage { channel, username },
        "report plays" => Access::PublishPlays,
        "report visits" => Access::PublishVisits { host },
        "read" => Access::ReadMessage { channel, username },
        "list" => Access::ReadMessages,
        "read inbox" => Access::ReadInbox { username: owner },
        "take" => Access::TakeInbox { username: owner },
        "delete" => Access::DeleteMessage { channel, username },
        "read plays" => Access::ReadPlays,
        "read host" => Access::ReadHost { host },
        "read pulse" => Access::ReadPulse,
        "receive" => Access::Subscribe { channel },
        "receive feed" => Access::SubscribeFeed { feed: Feed::parse(feed).expect("a feed") },
        "receive host" => Access::SubscribeHost { host },
        _ => Access::Connect,
    }
}

#[test]
fn decisions_agree_with_the_reference() {
    const ACTIONS_PER_CALLER: usize = 20;
    let is_full = std::env::var_os("MAYFLY_TEST_FULL").is_some_and(|value| value == "1");
    let pairs = if is_full { 10_000_000 } else { 200_000 };
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let mut counts = [0_usize; 2];
    for _ in 0..pairs / ACTIONS_PER_CALLER {
        let caller = create_caller(&mut random);
        let identity = to_identity(&caller);
        for _ in 0..ACTIONS_PER_CALLER {
            let action = create_action(&mut random);
            let access = to_access(action);
            let is_allowed = is_allowed(&caller, action);
            assert_eq!(identity.allows(&access), is_allowed, "seed {seed}: {caller} {action:?}");
            assert!(!is_allowed || identity.has_scope(access.scope()), "{caller} {action:?}");
            counts[usize::from(is_allowed)] += 1;
        }
    }
    let [forbidden, allowed] = counts;
    assert_eq!(forbidden + allowed, pairs);
    assert!(forbidden > pairs / 5 && allowed > pairs / 5, "{allowed} of {pairs} were allowed");
}
