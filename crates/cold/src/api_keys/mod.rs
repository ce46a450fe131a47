//! API keys with their rights. Postgres stores only digests and the public part of each key.

mod create;
mod find;
mod revoke;
mod rotate;
mod row;

use mayfly_auth::{Key, KeyId};
use mayfly_core::{KeyHash, Timestamp};

pub use create::NewApiKey;
pub use rotate::{NewSecret, Rotation};

use crate::store::ColdStore;

/// Every transaction that changes keys locks this row before the keys.
const LOCK: &str = "SELECT FROM api_keys_version FOR UPDATE";

/// The handle for API keys.
#[derive(Clone, Copy)]
pub struct ApiKeys<'a> {
    store: &'a ColdStore,
}

/// A stored API key with its display data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApiKey {
    /// The key. Its expiry time is the one of the current secret.
    pub key: Key,
    /// The digest of the current secret.
    pub hash: KeyHash,
    /// The secret before the last rotation, if it was left valid for some time.
    pub previous: Option<PreviousSecret>,
    /// The public part of the key; `None` if the key has another form than `mf_<id>_<secret>`.
    pub key_id: Option<KeyId>,
    /// The display name.
    pub name: String,
    /// The first characters of the key.
    pub start: String,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of revocation; `None` if the key has not been revoked.
    pub revoked_at: Option<Timestamp>,
    /// Whether the key had expired when it was read.
    pub is_expired: bool,
    /// Whether this version of Mayfly knows all restrictions of the key. If not, a later version
    /// has created the key, and `key` may grant more than it should.
    pub is_supported: bool,
}

/// The secret of a key before the last rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// The digest.
    pub hash: KeyHash,
    /// The time from which the secret is rejected.
    pub expires_at: Timestamp,
}

impl StoredApiKey {
    /// Returns the digest of each secret, with the key as the services use it. The key is `None` if
    /// this version of Mayfly does not support it, unless it has been revoked. The previous secret
    /// expires at the end of the overlap, or with the key if that is earlier.
    #[must_use]
    pub fn secrets(&self) -> Vec<(KeyHash, Option<Key>)> {
        let usable = |key| (self.is_supported || self.key.is_revoked).then_some(key);
        let mut secrets = vec![(self.hash.clone(), usable(self.key.clone()))];
        if let Some(previous) = &self.previous {
            let ends_at = previous.expires_at;
            let expires_at = self.key.expires_at.map_or(ends_at, |own| own.min(ends_at));
            let key = Key { expires_at: Some(expires_at), ..self.key.clone() };
            secrets.push((previous.hash.clone(), usable(key)));
        }
        secrets
    }
}

/// The outcome of an operation on the key that a text identifies: by its ID, its public part, its
/// first characters or its complete text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyLookup<T> {
    /// Exactly one key matches.
    Found(Box<T>),
    /// No key matches.
    NotFound,
    /// Several keys match. The operation changed none of them. Contains up to 20 keys.
    Ambiguous(Vec<StoredApiKey>),
}

impl ColdStore {
    /// Returns the handle for API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys { store: self }
    }
}

#[cfg(test)]
mod tests {
    use mayfly_auth::{KeyLimits, Names, Scopes};
    use uuid::Uuid;

    use super::*;

    fn stored(expires_at: Option<i64>, previous_ends_at: Option<i64>) -> StoredApiKey {
        StoredApiKey {
            key: Key {
                id: Uuid::nil(),
                scopes: Scopes::EMPTY,
                channels: Names::All,
                usernames: Names::All,
                hosts: Names::All,
                limits: KeyLimits::default(),
                expires_at: expires_at.map(Timestamp::from_millis),
                is_revoked: false,
            },
            hash: KeyHash::from_key("current"),
            previous: previous_ends_at.map(|ends_at| PreviousSecret {
                hash: KeyHash::from_key("previous"),
                expires_at: Timestamp::from_millis(ends_at),
            }),
            key_id: None,
            name: String::new(),
            start: String::new(),
            created_at: Timestamp::from_millis(0),
            revoked_at: None,
            is_expired: false,
            is_supported: true,
        }
    }

    #[test]
    fn previous_secret_expires_at_the_end_of_the_overlap_or_with_the_key() {
        let expiries = |stored: &StoredApiKey| -> Vec<Option<i64>> {
            let secrets = stored.secrets();
            let keys = secrets.iter().map(|(_, key)| key.as_ref().expect("a supported key"));
            keys.map(|key| key.expires_at.map(Timestamp::as_millis)).collect()
        };
        assert_eq!(expiries(&stored(None, None)), [None]);
        assert_eq!(expiries(&stored(None, Some(7))), [None, Some(7)]);
        assert_eq!(expiries(&stored(Some(9), Some(7))), [Some(9), Some(7)]);
        assert_eq!(expiries(&stored(Some(5), Some(7))), [Some(5), Some(5)]);
        let hashes: Vec<_> =
            stored(None, Some(7)).secrets().into_iter().map(|(hash, _)| hash).collect();
        assert_eq!(hashes, ["current", "previous"].map(KeyHash::from_key));
    }

    #[test]
    fn unsupported_key_is_not_used_unless_it_is_revoked() {
        let mut stored = StoredApiKey { is_supported: false, ..stored(None, Some(7)) };
        assert!(stored.secrets().iter().all(|(_, key)| key.is_none()));
        stored.key.is_revoked = true;
        let is_revoked = |key: &Option<Key>| key.as_ref().is_some_and(|key| key.is_revoked);
        assert!(stored.secrets().iter().all(|(_, key)| is_revoked(key)));
        assert_eq!(stored.secrets().len(), 2);
    }
}
