//! API keys: a copy in Redis of all keys in Postgres, so that authentication reads only Redis.

use std::time::Duration;

use deadpool_redis::redis::{self, RedisError};
use mayfly_core::{ApiKey, Host, KeyHash};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::connection::{HotError, HotStore, millis, script};

script!(FIND_KEY, include_str!("find_key.lua"));
script!(BEGIN_RELOAD, include_str!("begin_reload.lua"));
script!(PUT_PAGE, include_str!("put_key_page.lua"));
script!(PUT_KEY, include_str!("put_key.lua"));

/// The time after which a reload that makes no progress expires.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3);

/// The state of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyState {
    /// The state is not known, because the keys are not completely loaded or the stored key has an
    /// unknown format.
    NotLoaded,
    /// The key does not exist.
    Unknown,
    /// The key has been revoked.
    Revoked,
    /// The key is valid for these hosts.
    Active(Vec<Host>),
}

/// An API key as stored in Redis, in JSON.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: Uuid,
    hosts: Vec<Host>,
    revoked: bool,
}

impl StoredKey {
    fn to_json(key: &ApiKey) -> String {
        let stored = Self { id: key.id, hosts: key.hosts.clone(), revoked: key.is_revoked };
        serde_json::to_string(&stored).expect("invariant: a stored key is plain data")
    }
}

/// A reload of all keys, in progress.
#[derive(Debug)]
pub struct ApiKeyReload {
    token: String,
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

impl ApiKeys<'_> {
    /// Returns the state of a key. O(1).
    pub async fn find(self, hash: &KeyHash) -> Result<ApiKeyState, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND_KEY.prepare_invoke();
        call.key(keys.api_keys()).key(keys.api_keys_version()).arg(hash.as_str());
        let (key, is_loaded): (Option<String>, bool) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        if !is_loaded {
            return Ok(ApiKeyState::NotLoaded);
        }
        let Some(key) = key else { return Ok(ApiKeyState::Unknown) };
        Ok(match serde_json::from_str::<StoredKey>(&key) {
            Ok(key) if key.revoked => ApiKeyState::Revoked,
            Ok(key) => ApiKeyState::Active(key.hosts),
            // A later version of Mayfly may have written the value.
            Err(_) => ApiKeyState::NotLoaded,
        })
    }

    /// Returns whether this version of the keys in Postgres is completely loaded and no key has
    /// been written since. Also returns false if a Redis key has the wrong type.
    pub async fn has_version(self, version: i64) -> Result<bool, HotError> {
        let keys = &self.store.keys;
        let (loaded, kind): (Result<Option<String>, RedisError>, Result<String, RedisError>) = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .ignore_errors()
                    .get(keys.api_keys_version())
                    .cmd("TYPE")
                    .arg(keys.api_keys())
                    .query_async(connection)
                    .await
            })
            .await?;
        let loaded = self.store.skip_unreadable(&keys.api_keys_version(), loaded)?.flatten();
        // If there are no API keys, the hash does not exist, because Redis stores no empty hashes.
        let is_readable = matches!(kind?.as_str(), "hash" | "none");
        Ok(is_readable && loaded == Some(version.to_string()))
    }

    /// Writes a key that has just been created or revoked, and causes a reload of all keys. O(1).
    pub async fn put(self, key: &ApiKey) -> Result<(), HotError> {
        let mut call = PUT_KEY.prepare_invoke();
        let keys = &self.store.keys;
        call.key(keys.api_keys()).key(keys.api_keys_version()).key(keys.new_api_keys());
        call.arg(key.hash.as_str()).arg(StoredKey::to_json(key));
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Begins a reload of all keys. Returns `None` if a reload is already in progress. The caller
    /// must read the keys from Postgres after this call. O(1).
    pub async fn begin_reload(self) -> Result<Option<ApiKeyReload>, HotError> {
        let token = Uuid::now_v7().to_string();
        let mut call = BEGIN_RELOAD.prepare_invoke();
        call.key(self.store.keys.new_api_keys()).arg(&token).arg(millis(RELOAD_TIMEOUT));
        let has_begun: bool =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(has_begun.then_some(ApiKeyReload { token }))
    }

    /// Writes a page of a reload. `version` is `Some` only for the last page, which replaces the
    /// current keys with the keys of all pages. Returns false if the reload must be restarted,
    /// because a key was changed in the meantime or the reload made no progress for 3 s. O(n) for n
    /// keys in the page.
    pub async fn put_page(
        self,
        reload: &ApiKeyReload,
        page: &[ApiKey],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let keys = &self.store.keys;
        let mut call = PUT_PAGE.prepare_invoke();
        call.key(keys.new_api_keys()).key(keys.api_keys()).key(keys.api_keys_version());
        call.arg(&reload.token).arg(millis(RELOAD_TIMEOUT));
        call.arg(version.map(|version| version.to_string()).unwrap_or_default());
        for key in page {
            call.arg(key.hash.as_str()).arg(StoredKey::to_json(key));
        }
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}
