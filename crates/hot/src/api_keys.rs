//! API keys as Redis knows them: all of Postgres, so that a request asks Redis alone.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::{Host, KeyHash, KnownKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{accept::millis, error::HotError, pool::Hot};

static BEGIN: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/begin_keys.lua")));
static PUT_PAGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/put_keys.lua")));
static PUT_ONE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/put_key.lua")));

/// Who puts all keys and is silent for so long is gone.
const SILENT_FOR: Duration = Duration::from_secs(3);

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeyState {
    /// The keys are not all back in Redis: nobody can say.
    NotBack,
    /// There is no such key.
    Unknown,
    /// It was revoked.
    Revoked,
    /// It is good for these hosts.
    Good(Vec<Host>),
}

/// A key as it stands in Redis.
#[derive(Serialize, Deserialize)]
struct KeyJson {
    id: Uuid,
    hosts: Vec<Host>,
    revoked: bool,
}

impl KeyJson {
    fn of(key: &KnownKey) -> String {
        let json = Self { id: key.id, hosts: key.hosts.clone(), revoked: key.is_revoked };
        serde_json::to_string(&json).expect("invariant: texts are JSON")
    }
}

/// All keys being put in the place of those that are there.
#[derive(Debug)]
pub struct ApiKeysTurn {
    token: String,
}

impl Hot {
    /// What is known of a key.
    pub async fn find_api_key(&self, hash: &KeyHash) -> Result<ApiKeyState, HotError> {
        let keys = &self.keys;
        // At one instant: a key that is not there is unknown only if all are there.
        let (known, is_back): (Option<String>, bool) = self
            .call(async |connection| {
                redis::pipe()
                    .atomic()
                    .hget(keys.api_keys(), hash.as_str())
                    .exists(keys.api_keys_version())
                    .query_async(connection)
                    .await
            })
            .await?;
        if !is_back {
            return Ok(ApiKeyState::NotBack);
        }
        let Some(known) = known else { return Ok(ApiKeyState::Unknown) };
        Ok(match serde_json::from_str::<KeyJson>(&known) {
            Ok(key) if key.revoked => ApiKeyState::Revoked,
            Ok(key) => ApiKeyState::Good(key.hosts),
            // A later version wrote it: nothing is known that could be relied on.
            Err(_) => ApiKeyState::NotBack,
        })
    }

    /// Whether all keys are there, in just this version of Postgres.
    pub async fn has_api_keys(&self, version: i64) -> Result<bool, HotError> {
        let known: Option<String> = self
            .call(async |connection| {
                redis::cmd("GET").arg(self.keys.api_keys_version()).query_async(connection).await
            })
            .await?;
        Ok(known == Some(version.to_string()))
    }

    /// Puts one key that was just made or revoked, and has all of them put again soon.
    pub async fn put_api_key(&self, key: &KnownKey) -> Result<(), HotError> {
        let mut call = PUT_ONE.prepare_invoke();
        let keys = &self.keys;
        call.key(keys.api_keys()).key(keys.api_keys_version()).key(keys.new_api_keys());
        call.arg(key.hash.as_str()).arg(KeyJson::of(key));
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Begins to put all keys; nothing if another process is at it. What is put must be read from
    /// Postgres afterwards.
    pub async fn begin_api_keys(&self) -> Result<Option<ApiKeysTurn>, HotError> {
        let token = Uuid::now_v7().to_string();
        let mut call = BEGIN.prepare_invoke();
        call.key(self.keys.new_api_keys()).arg(&token).arg(millis(SILENT_FOR));
        let began: bool = self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(began.then_some(ApiKeysTurn { token }))
    }

    /// Puts a page of all keys; with the last one goes the version, and all of them take the place of
    /// those that are there. False if all is to be begun again: a key changed meanwhile, or nothing
    /// was put for 3 s.
    pub async fn put_api_keys(
        &self,
        turn: &ApiKeysTurn,
        page: &[KnownKey],
        version: Option<i64>,
    ) -> Result<bool, HotError> {
        let keys = &self.keys;
        let mut call = PUT_PAGE.prepare_invoke();
        call.key(keys.new_api_keys()).key(keys.api_keys()).key(keys.api_keys_version());
        call.arg(&turn.token).arg(millis(SILENT_FOR));
        call.arg(version.map(|version| version.to_string()).unwrap_or_default());
        for key in page {
            call.arg(key.hash.as_str()).arg(KeyJson::of(key));
        }
        self.call(async |connection| call.invoke_async(connection).await).await
    }
}
