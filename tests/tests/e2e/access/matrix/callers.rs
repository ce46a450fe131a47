//! The callers: without credentials, with invalid credentials, and with every kind of right.

use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually};
use serde_json::{Value, json};

use super::{CHANNEL, HOST, USERNAME};
use crate::access::{
    credentials::{
        NewKey, SECRET, TokenOptions, create_keys, create_token, revoke_token, sign_token,
    },
    get,
};

/// A caller.
pub struct Caller {
    /// A description.
    pub name: String,
    /// The key or token.
    pub credentials: Option<String>,
    /// The rights.
    pub rights: Rights,
}

/// The rights of a caller, as far as they concern the names in the requests.
#[derive(Debug, Clone)]
pub enum Rights {
    /// The credentials are missing or invalid.
    Nobody,
    /// A key.
    Key(KeyRights),
    /// A token.
    Token(TokenRights),
}

/// The rights of a key.
#[derive(Debug, Clone)]
pub struct KeyRights {
    /// The scopes.
    pub scopes: Vec<&'static str>,
    /// The patterns of channels, usernames and hosts.
    pub channels: Patterns,
    pub usernames: Patterns,
    pub hosts: Patterns,
}

/// A list of patterns, as far as it concerns one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    /// There is no list.
    Missing,
    /// A pattern matches the name.
    Matching,
    /// No pattern matches the name.
    Other,
}

/// The rights of a token.
#[derive(Debug, Clone)]
pub struct TokenRights {
    /// Whether the subject is the username.
    pub is_subject: bool,
    /// The claim `mayfly`.
    pub claim: Value,
}

/// All lists of names in the claim with the names of the requests.
fn full_claim() -> Value {
    json!({
        "publish": [CHANNEL, "dummy", "lobby"],
        "subscribe": ["mat*x"],
        "feeds": ["plays", "rising", "stats", "pulse"],
        "hosts": ["*.example.org"],
        "inbox": true,
        "plays": true,
        "visits": [HOST],
    })
}

/// The scopes of a key that may do everything within its patterns.
const SCOPES: [&str; 4] = ["publish", "subscribe", "read", "take"];

/// Returns the patterns of a list. `matching` matches the names in the requests.
fn patterns<'a>(kind: Patterns, matching: &'a [&'a str]) -> Option<&'a [&'a str]> {
    match kind {
        Patterns::Missing => None,
        Patterns::Matching => Some(matching),
        Patterns::Other => Some(&["other.*"]),
    }
}

/// Returns the rights of all keys with a description.
fn key_rights() -> Vec<(String, KeyRights)> {
    let unrestricted = |scopes: &[&'static str]| KeyRights {
        scopes: scopes.to_vec(),
        channels: Patterns::Missing,
        usernames: Patterns::Missing,
        hosts: Patterns::Missing,
    };
    let mut keys: Vec<(String, KeyRights)> = Vec::new();
    for scope in SCOPES.into_iter().chain(["operate"]) {
        keys.push((format!("key with scope {scope}"), unrestricted(&[scope])));
    }
    for kind in [Patterns::Matching, Patterns::Other] {
        let all = unrestricted(&SCOPES);
        keys.extend([
            (format!("key with channels {kind:?}"), KeyRights { channels: kind, ..all.clone() }),
            (format!("key with usernames {kind:?}"), KeyRights { usernames: kind, ..all.clone() }),
            (format!("key with hosts {kind:?}"), KeyRights { hosts: kind, ..all }),
        ]);
    }
    let other = KeyRights {
        channels: Patterns::Other,
        usernames: Patterns::Other,
        hosts: Patterns::Other,
        ..unrestricted(&["operate"])
    };
    keys.push(("key with scope operate and patterns".to_owned(), other));
    keys
}

/// Returns the rights of all tokens with a description.
fn token_rights() -> Vec<(String, TokenRights)> {
    let full = full_claim();
    let mut tokens = vec![
        (
            "token with every right".to_owned(),
            TokenRights { is_subject: true, claim: full.clone() },
        ),
        (
            "token of another user".to_owned(),
            TokenRights { is_subject: false, claim: full.clone() },
        ),
        ("token without rights".to_owned(), TokenRights { is_subject: true, claim: json!({}) }),
    ];
    for (name, value) in full.as_object().expect("an object") {
        let claim = json!({name.as_str(): value});
        tokens.push((format!("token with {name}"), TokenRights { is_subject: true, claim }));
        if value.is_array() && name != "feeds" {
            let mut claim = full.clone();
            claim[name.as_str()] = json!(["other.*"]);
            let rights = TokenRights { is_subject: true, claim };
            tokens.push((format!("token with other {name}"), rights));
        }
    }
    for feed in ["plays", "rising", "stats", "pulse"] {
        let claim = json!({"feeds": [feed]});
        tokens.push((format!("token with feed {feed}"), TokenRights { is_subject: true, claim }));
    }
    tokens
}

/// Creates all callers.
pub async fn create_callers(world: &World) -> Vec<Caller> {
    let rights = key_rights();
    let invalid = [
        NewKey { scopes: &["operate"], is_revoked: true, ..NewKey::default() },
        NewKey { scopes: &["operate"], is_expired: true, ..NewKey::default() },
    ];
    let valid = rights.iter().map(|(_, key)| NewKey {
        scopes: &key.scopes,
        channels: patterns(key.channels, &["matr*", "dummy", "lobby"]),
        usernames: patterns(key.usernames, &[USERNAME]),
        hosts: patterns(key.hosts, &["MATRIX.example.*"]),
        ..NewKey::default()
    });
    let keys: Vec<NewKey<'_>> = invalid.into_iter().chain(valid).collect();
    let mut texts = create_keys(world, &keys).await.into_iter();
    let mut callers = vec![nobody("no credentials", None)];
    callers.push(nobody("revoked key", texts.next()));
    callers.push(nobody("expired key", texts.next()));
    for ((name, key), text) in rights.into_iter().zip(texts) {
        callers.push(Caller { name, credentials: Some(text), rights: Rights::Key(key) });
    }
    callers.extend(create_invalid(world).await);
    for (name, token) in token_rights() {
        let subject = if token.is_subject { USERNAME } else { "other" };
        let text = create_token(subject, token.claim.clone());
        callers.push(Caller { name, credentials: Some(text), rights: Rights::Token(token) });
    }
    callers
}

fn nobody(name: &str, credentials: Option<String>) -> Caller {
    Caller { name: name.to_owned(), credentials, rights: Rights::Nobody }
}

/// Creates callers whose credentials no service accepts.
async fn create_invalid(world: &World) -> Vec<Caller> {
    const REVOKED: &str = "matrix-revoked";
    let valid = TokenOptions {
        subject: USERNAME,
        rights: full_claim(),
        ttl_s: 3_600,
        id: None,
        secret: SECRET,
    };
    let expired = sign_token(&TokenOptions { ttl_s: -3_600, ..valid.clone() });
    let secret = "another secret that no service knows of, 32 bytes";
    let foreign = sign_token(&TokenOptions { secret, ..valid.clone() });
    let revoked = sign_token(&TokenOptions { id: Some(REVOKED), ..valid });
    revoke_token(world, REVOKED).await;
    eventually(DEFAULT_TIMEOUT, "the token is revoked", async || {
        match get(world, "/v1/plays", &revoked).await.status {
            401 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    let unknown = format!("mf_{}_{}", "a".repeat(12), "b".repeat(43));
    vec![
        nobody("unknown key", Some(unknown)),
        nobody("key of another form", Some("letmein".to_owned())),
        nobody("expired token", Some(expired)),
        nobody("token with another secret", Some(foreign)),
        nobody("revoked token", Some(revoked)),
        nobody("malformed token", Some("a.b.c".to_owned())),
    ]
}
