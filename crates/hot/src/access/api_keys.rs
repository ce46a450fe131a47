//! API keys: a copy in Redis of all keys in Postgres, so that authentication reads only Redis.

use mayfly_auth::{Key, KeyLimits, Names, Pattern, Scope, Scopes};
use mayfly_core::{Host, KeyHash};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::mirror::{Mirror, MirrorReload},
    connection::{HotError, HotStore, script},
};

script!(FIND, "#!lua flags=no-writes\n", include_str!("mirror.lua"), include_str!("find_key.lua"),);

/// The format of [`StoredKey`]. Format 1, which the previous version of Mayfly writes, has no
/// `key`.
pub(crate) const FORMAT: u32 = 2;
/// The row of a key that this version of Mayfly cannot check. No version can parse it.
const UNSUPPORTED: &str = "{}";

/// The state of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyState {
    /// The state is not known, because the keys are not completely loaded, or because the key has
    /// an unknown format or an unknown restriction.
    NotLoaded,
    /// The key does not exist.
    Unknown,
    /// The key exists. It may have expired or may have been revoked.
    Found(Key),
}

/// An API key as stored in Redis, in JSON. The previous version of Mayfly reads all fields except
/// `key`.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: Uuid,
    hosts: Vec<Host>,
    revoked: bool,
    #[serde(default)]
    key: Option<Key>,
}

impl StoredKey {
    fn new(key: &Key) -> Self {
        // The previous version checks neither scopes nor the expiry time.
        let is_for_previous_version = key.scopes.contains(Scope::Read) && key.expires_at.is_none();
        let patterns = key.hosts.patterns().filter(|_| is_for_previous_version).unwrap_or_default();
        // The name of a host contains no `*`.
        let hosts = patterns.iter().filter_map(|pattern| Host::parse(pattern.as_str()).ok());
        Self { id: key.id, hosts: hosts.collect(), revoked: key.is_revoked, key: Some(key.clone()) }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: a stored key is plain data")
    }

    /// Returns the key. The previous version of Mayfly writes keys that grant access to the pages
    /// of their hosts and to nothing else.
    fn into_key(self) -> Key {
        let Self { id, hosts, revoked, key } = self;
        key.unwrap_or_else(|| Key {
            id,
            scopes: Scopes::from_iter([Scope::Read]),
            channels: Names::none(),
            usernames: Names::none(),
            hosts: hosts
                .iter()
                .filter_map(|host| Pattern::parse(host.as_str()).ok())
                .collect::<Vec<_>>()
                .into(),
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: revoked,
        })
    }
}

/// Operations on API keys.
#[derive(Clone, Copy)]
pub struct ApiKeys<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys { store: self }
    }
}

impl<'a> ApiKeys<'a> {
    pub(super) fn mirror(self) -> Mirror<'a> {
        let keys = &self.store.keys;
        Mirror {
            store: self.store,
            rows: keys.api_keys(),
            new_rows: keys.new_api_keys(),
            version: keys.api_keys_version(),
            format: FORMAT,
        }
    }

    /// Returns the state of the key with this digest. The digest can also be the one of the
    /// previous secret of a rotated key. Does not check whether the key has expired or has been
    /// revoked. O(1).
    pub async fn find(self, hash: &KeyHash) -> Result<ApiKeyState, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND.prepare_invoke();
        call.key(keys.api_keys()).key(keys.api_keys_version());
        call.arg(hash.as_str()).arg(FORMAT);
        let (key, is_loaded): (Option<String>, bool) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        let found = key.map(|key| serde_json::from_str::<StoredKey>(&key).map(StoredKey::into_key));
        Ok(match found {
            // A revocation is final, so it is effective even if the keys may be outdated.
            Some(Ok(key)) if is_loaded || key.is_revoked => ApiKeyState::Found(key),
            None if is_loaded => ApiKeyState::Unknown,
            // A later version of Mayfly may have written the value.
            _ => ApiKeyState::NotLoaded,
        })
    }

    /// Returns whether this version of the keys in Postgres was completely loaded within the last
    /// hour, and no key has been written since. Also returns false if a Redis key has the wrong
    /// type. O(1).
    pub async fn is_current(self, version: i64) -> Result<bool, HotError> {
        self.mirror().is_current(version).await
    }

    /// Writes a key that has just been created, rotated or revoked, once per valid digest, revokes
    /// the digests `removed`, which the key no longer has, and causes a reload of all keys. A key
    /// is `None` if this version of Mayfly does not support it. O(n) for n digests.
    pub async fn put(
        self,
        keys: &[(KeyHash, Option<Key>)],
        removed: &[KeyHash],
    ) -> Result<(), HotError> {
        let removed = removed.iter().map(|hash| (hash.to_string(), to_json_of_removed()));
        let rows: Vec<_> = keys.iter().map(to_row).chain(removed).collect();
        self.mirror().put(&rows).await
    }

    /// Begins a reload of all keys. Returns `None` if a reload is already in progress. The caller
    /// must read the keys from Postgres after this call. O(1).
    pub async fn begin_reload(self) -> Result<Option<MirrorReload>, HotError> {
        self.mirror().begin_reload().await
    }

    /// Writes a page of a reload. `version` is `Some` only for the last page, which replaces the
    /// current keys with the keys of all pages. Returns false if the reload must be restarted,
    /// because Redis has restarted or the reload made no progress for 3 s. A key is `None` if this
    /// version of Mayfly does not support it. O(n) for n keys in the page.
    pub async fn put_page(
        self,
        reload: &MirrorReload,
        page: &[(KeyHash, Option<Key>)],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let rows: Vec<_> = page.iter().map(to_row).collect();
        self.mirror().put_page(reload, &rows, version).await
    }
}

fn to_row((hash, key): &(KeyHash, Option<Key>)) -> (String, String) {
    let json = key.as_ref().map(|key| StoredKey::new(key).to_json());
    (hash.to_string(), json.unwrap_or_else(|| UNSUPPORTED.to_owned()))
}

/// Returns the row of a digest that its key no longer has. The next reload removes the row. Until
/// then, the row prevents a reload in progress from restoring the digest.
fn to_json_of_removed() -> String {
    let key = Key {
        id: Uuid::nil(),
        scopes: Scopes::EMPTY,
        channels: Names::none(),
        usernames: Names::none(),
        hosts: Names::none(),
        limits: KeyLimits::default(),
        expires_at: None,
        is_revoked: true,
    };
    StoredKey::new(&key).to_json()
}

#[cfg(test)]
mod tests {
    use mayfly_auth::RateText;
    use mayfly_core::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    fn names(patterns: &[&str]) -> Names {
        Names::parse(patterns.iter().copied()).expect("patterns")
    }

    /// Returns a key as the previous version creates them: for the pages of two hosts.
    fn previous_key() -> Key {
        Key {
            id: ID.parse().expect("a UUID"),
            scopes: Scopes::from_iter([Scope::Read]),
            channels: Names::none(),
            usernames: Names::none(),
            hosts: names(&["a.org", "b.org:80"]),
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }
    }

    fn read(json: &str) -> Key {
        serde_json::from_str::<StoredKey>(json).expect("a stored key").into_key()
    }

    #[test]
    fn key_round_trips_through_json() {
        let limited = Key {
            scopes: Scopes::from_iter([Scope::Publish, Scope::Read]),
            channels: names(&["chat.*"]),
            usernames: Names::All,
            hosts: names(&["*.a.org", "c.org"]),
            limits: KeyLimits { messages: RateText::parse("100/day").ok(), ..KeyLimits::default() },
            expires_at: Some(Timestamp::from_millis(1_795_201_620_123)),
            is_revoked: true,
            ..previous_key()
        };
        for key in [previous_key(), limited] {
            assert_eq!(read(&StoredKey::new(&key).to_json()), key);
        }
    }

    #[test]
    fn previous_version_finds_the_hosts_of_the_keys_that_it_can_check() {
        let stored = |key: &Key| -> Value {
            let mut value = serde_json::to_value(StoredKey::new(key)).expect("valid JSON");
            value.as_object_mut().expect("an object").remove("key").expect("a key");
            value
        };
        let expected = |hosts: &[&str]| json!({"id": ID, "hosts": hosts, "revoked": false});
        let key = previous_key();
        assert_eq!(stored(&key), expected(&["a.org", "b.org:80"]));
        let hosts = names(&["*.a.org", "B.org"]);
        assert_eq!(stored(&Key { hosts, ..key.clone() }), expected(&["b.org"]));
        assert_eq!(stored(&Key { hosts: Names::All, ..key.clone() }), expected(&[]));
        let expires_at = Some(Timestamp::from_millis(0));
        assert_eq!(stored(&Key { expires_at, ..key.clone() }), expected(&[]));
        let scopes = Scopes::from_iter([Scope::Publish, Scope::Take]);
        assert_eq!(stored(&Key { scopes, ..key }), expected(&[]));
    }

    #[test]
    fn key_of_the_previous_version_reads_only_its_hosts() {
        let json = format!(r#"{{"id":"{ID}","hosts":["a.org","b.org:80"],"revoked":false}}"#);
        assert_eq!(read(&json), previous_key());
    }
}
