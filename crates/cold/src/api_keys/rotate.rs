//! Rotates the secrets of API keys.

use std::time::Duration;

use diesel::{
    result::QueryResult,
    sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_auth::KeyId;
use mayfly_core::KeyHash;

use super::{
    ApiKeyLookup, ApiKeys, LOCK, StoredApiKey,
    create::key_start,
    find::{find_by_id, find_matches, single},
};
use crate::store::{ColdError, to_millis};

/// The overlap does not extend the lifetime of the current secret.
const ROTATE: &str = "UPDATE api_keys SET \
         previous_hash = CASE WHEN $5 > 0 THEN hash END, \
         previous_ends_at = CASE WHEN $5 > 0 THEN \
             least(ends_at, clock_timestamp() + make_interval(secs => $5 / 1000.0)) END, \
         hash = decode($2, 'hex'), public_id = $3, start = $4, \
         ends_at = coalesce(clock_timestamp() + make_interval(secs => $6 / 1000.0), ends_at) \
     WHERE id = $1";

/// A new secret for an existing key.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// The public part of the key. Rotation does not change it, unless the key has none.
    pub key_id: KeyId,
    /// The digest of the key.
    pub hash: KeyHash,
    /// How long the current secret stays valid. If zero, it is rejected immediately.
    pub overlap: Duration,
    /// The new time after which the key expires; `None` to keep its expiry time.
    pub lifetime: Option<Duration>,
}

/// The outcome of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The key has the new secret.
    Rotated {
        /// The key after the rotation.
        key: StoredApiKey,
        /// The digests of the secrets that are no longer valid.
        removed: Vec<KeyHash>,
    },
    /// The key has been revoked and was not changed.
    Revoked(StoredApiKey),
    /// The key has expired, and no new lifetime was given. The key was not changed.
    Expired(StoredApiKey),
}

impl ApiKeys<'_> {
    /// Replaces the secret of the key that a text identifies, if exactly one key matches. The
    /// current secret stays valid for the overlap; the one before it does not.
    ///
    /// Complexity: O(k) for k keys (at most 100,000), because the first characters have no index.
    pub async fn rotate(
        self,
        which: &str,
        new: &NewSecret,
    ) -> Result<ApiKeyLookup<Rotation>, ColdError> {
        self.store
            .call(async |connection| {
                connection
                    .transaction(async |connection| rotate(connection, which, new).await)
                    .await
            })
            .await
    }
}

async fn rotate(
    connection: &mut AsyncPgConnection,
    which: &str,
    new: &NewSecret,
) -> QueryResult<ApiKeyLookup<Rotation>> {
    diesel::sql_query(LOCK).execute(connection).await?;
    let before = match single(find_matches(connection, which).await?) {
        Ok(key) => key,
        Err(outcome) => return Ok(outcome),
    };
    let found = |rotation| Ok(ApiKeyLookup::Found(Box::new(rotation)));
    if before.revoked_at.is_some() {
        return found(Rotation::Revoked(before));
    }
    if before.is_expired && new.lifetime.is_none() {
        return found(Rotation::Expired(before));
    }
    diesel::sql_query(ROTATE)
        .bind::<SqlUuid, _>(before.key.id)
        .bind::<Text, _>(new.hash.as_str())
        .bind::<Text, _>(new.key_id.as_str())
        .bind::<Text, _>(key_start(&new.key_id))
        .bind::<BigInt, _>(to_millis(new.overlap))
        .bind::<Nullable<BigInt>, _>(new.lifetime.map(to_millis))
        .execute(connection)
        .await?;
    let key = find_by_id(connection, before.key.id).await?;
    let valid = key.secrets();
    let removed = before.secrets().into_iter().map(|(hash, _)| hash);
    let removed = removed.filter(|hash| valid.iter().all(|(valid, _)| valid != hash)).collect();
    found(Rotation::Rotated { key, removed })
}
