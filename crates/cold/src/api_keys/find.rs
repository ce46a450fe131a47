//! Finds and lists API keys.

use diesel::{
    QueryableByName,
    result::QueryResult,
    sql_types::{BigInt, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mayfly_core::KeyHash;
use uuid::Uuid;

use super::{
    ApiKeyLookup, ApiKeys, StoredApiKey,
    row::{Row, select_keys},
};
use crate::store::ColdError;

/// Key IDs sort by creation time.
const LIST: &str = select_keys!("WHERE id > $1 ORDER BY id LIMIT $2");

/// Selects up to 20 matching keys, enough to list the candidates for an ambiguous text.
const FIND: &str = select_keys!(
    "WHERE id = $1 OR hash = decode($2, 'hex') OR previous_hash = decode($2, 'hex') \
         OR public_id = $3 OR start = $3 \
     ORDER BY revoked_at IS NOT NULL, id LIMIT 20"
);

const FIND_BY_ID: &str = select_keys!("WHERE id = $1");

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

impl ApiKeys<'_> {
    /// Lists the keys after an ID, in order of creation.
    ///
    /// Complexity: O(log k + p) for k keys and p listed keys with their hosts.
    pub async fn list(self, after: Uuid, limit: u32) -> Result<Vec<StoredApiKey>, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(LIST)
                    .bind::<SqlUuid, _>(after)
                    .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                    .get_results::<Row>(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(StoredApiKey::from).collect())
    }

    /// Finds the key that a text identifies.
    ///
    /// Complexity: O(k) for k keys (at most 100,000), because the first characters have no index.
    pub async fn find(self, which: &str) -> Result<ApiKeyLookup<StoredApiKey>, ColdError> {
        let keys =
            self.store.call(async |connection| find_matches(connection, which).await).await?;
        Ok(match single(keys) {
            Ok(key) => ApiKeyLookup::Found(Box::new(key)),
            Err(outcome) => outcome,
        })
    }

    /// Returns the version of the set of keys. Every change to a key or its hosts increases the
    /// version.
    ///
    /// Complexity: O(1).
    pub async fn find_version(self) -> Result<i64, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query("SELECT version FROM api_keys_version")
                    .get_result::<Version>(connection)
                    .await
            })
            .await
            .map(|row| row.version)
    }
}

/// Finds the keys that a text can identify.
pub(super) async fn find_matches(
    connection: &mut AsyncPgConnection,
    which: &str,
) -> QueryResult<Vec<StoredApiKey>> {
    let rows = diesel::sql_query(FIND)
        .bind::<Nullable<SqlUuid>, _>(Uuid::parse_str(which).ok())
        .bind::<Text, _>(KeyHash::from_key(which).as_str())
        .bind::<Text, _>(which)
        .get_results::<Row>(connection)
        .await?;
    Ok(rows.into_iter().map(StoredApiKey::from).collect())
}

/// Returns the key with an ID.
pub(super) async fn find_by_id(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> QueryResult<StoredApiKey> {
    let row = diesel::sql_query(FIND_BY_ID).bind::<SqlUuid, _>(id).get_result::<Row>(connection);
    row.await.map(StoredApiKey::from)
}

/// Returns the only key, or the outcome if there is none or there are several.
pub(super) fn single<T>(mut keys: Vec<StoredApiKey>) -> Result<StoredApiKey, ApiKeyLookup<T>> {
    match keys.len() {
        0 => Err(ApiKeyLookup::NotFound),
        1 => Ok(keys.remove(0)),
        _ => Err(ApiKeyLookup::Ambiguous(keys)),
    }
}
