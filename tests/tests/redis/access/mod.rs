//! API keys, token revocations, and the authentication of callers.

mod api_keys;
mod auth_failures;
mod authenticator;
mod revocations;
mod versions;

use mayfly_auth::{Key, KeyLimits, Names, Scope, Scopes};
use mayfly_core::KeyHash;
use uuid::Uuid;

/// Returns an API key that reads the pages of these hosts, with its digest.
pub(crate) fn api_key(text: &str, hosts: &[&str]) -> (KeyHash, Key) {
    let key = Key {
        id: Uuid::now_v7(),
        scopes: Scopes::from_iter([Scope::Read]),
        channels: Names::none(),
        usernames: Names::none(),
        hosts: Names::parse(hosts.iter().copied()).expect("patterns"),
        limits: KeyLimits::default(),
        expires_at: None,
        is_revoked: false,
    };
    (KeyHash::from_key(text), key)
}

/// Returns keys as rows of the mirror.
pub(crate) fn supported(keys: &[(KeyHash, Key)]) -> Vec<(KeyHash, Option<Key>)> {
    keys.iter().map(|(hash, key)| (hash.clone(), Some(key.clone()))).collect()
}

/// Returns a key after its revocation.
pub(crate) fn revoke((hash, key): (KeyHash, Key)) -> (KeyHash, Key) {
    (hash, Key { is_revoked: true, ..key })
}
