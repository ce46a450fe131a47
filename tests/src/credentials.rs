//! Keys and tokens for tests.

use std::ops::Range;

use mayfly_auth::{Key, KeyLimits, Names, NewToken, Scope, Scopes, TokenSecret, sign};
use mayfly_core::{KeyHash, TokenRevocation, Username};
use mayfly_hot::HotStore;
use serde::Serialize;
use uuid::Uuid;

/// Signs a token. `times` begins with the time of issue and ends with the expiry time, in seconds
/// since the Unix epoch. `rights` is the claim `mayfly`.
///
/// # Panics
/// If an argument is invalid.
#[must_use]
pub fn sign_token(
    secret: &str,
    subject: &str,
    id: Option<&str>,
    times: Range<i64>,
    rights: &impl Serialize,
) -> String {
    let rights = serde_json::to_value(rights).and_then(serde_json::from_value);
    let token = NewToken {
        subject: Username::parse(subject).expect("a username"),
        id: id.map(str::to_owned),
        issued_at: times.start,
        expires_at: times.end,
        issuer: None,
        audience: None,
        rights: rights.expect("valid rights"),
    };
    let secret = TokenSecret::parse(secret).expect("a valid secret");
    sign(&token, &secret).expect("the token is signed")
}

/// Returns a key that reads the pages of hosts and nothing else, with its digest.
///
/// # Panics
/// If a host is not a valid pattern.
#[must_use]
pub fn create_page_key(text: &str, hosts: &[&str], is_revoked: bool) -> (KeyHash, Key) {
    let key = Key {
        id: Uuid::now_v7(),
        scopes: Scopes::from_iter([Scope::Read]),
        channels: Names::none(),
        usernames: Names::none(),
        hosts: Names::parse(hosts.iter().copied()).expect("patterns"),
        limits: KeyLimits::default(),
        expires_at: None,
        is_revoked,
    };
    (KeyHash::from_key(text), key)
}

/// Loads all keys and token revocations into Redis, as a worker does.
///
/// # Panics
/// If Redis does not respond, or if another process is loading them.
pub async fn load_credentials(
    hot: &HotStore,
    keys: &[(KeyHash, Key)],
    revocations: &[TokenRevocation],
) {
    let keys: Vec<_> = keys.iter().map(|(hash, key)| (hash.clone(), Some(key.clone()))).collect();
    let mirror = hot.api_keys();
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    assert!(mirror.put_page(&reload, &keys, Some(1)).await.expect("Redis responds"));
    let mirror = hot.token_revocations();
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    assert!(mirror.put_page(&reload, revocations, Some(1)).await.expect("Redis responds"));
}
