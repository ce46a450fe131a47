//! Revokes API keys.

use diesel::{result::QueryResult, sql_types::Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::{
    ApiKeyLookup, ApiKeys, LOCK, StoredApiKey,
    find::{find_by_id, find_matches, single},
};
use crate::store::ColdError;

const REVOKE: &str =
    "UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL";

impl ApiKeys<'_> {
    /// Revokes the key that a text identifies, with its previous secret, if exactly one key
    /// matches. Returns the revoked key. Idempotent.
    ///
    /// Complexity: O(k) for k keys (at most 100,000), because the first characters have no index.
    pub async fn revoke(self, which: &str) -> Result<ApiKeyLookup<StoredApiKey>, ColdError> {
        self.store
            .call(async |connection| {
                connection.transaction(async |connection| revoke(connection, which).await).await
            })
            .await
    }
}

async fn revoke(
    connection: &mut AsyncPgConnection,
    which: &str,
) -> QueryResult<ApiKeyLookup<StoredApiKey>> {
    diesel::sql_query(LOCK).execute(connection).await?;
    let key = match single(find_matches(connection, which).await?) {
        Ok(key) => key,
        Err(outcome) => return Ok(outcome),
    };
    diesel::sql_query(REVOKE).bind::<SqlUuid, _>(key.key.id).execute(connection).await?;
    let revoked = find_by_id(connection, key.key.id).await?;
    Ok(ApiKeyLookup::Found(Box::new(revoked)))
}
