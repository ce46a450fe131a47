//! Revocations of tokens.

use std::time::Duration;

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{Timestamp, TokenRevocation, Username};
use uuid::Uuid;

use crate::store::{ColdError, ColdStore, from_pg, to_millis, to_pg};

const REVOKE: &str = "SELECT * FROM revoke_tokens_v1($1, $2, $3, $4, $5)";

/// Revocation IDs sort by creation time. Expired revocations match no valid token.
const LIST: &str = "SELECT * FROM token_revocations \
     WHERE id > $1 AND (expires_at > clock_timestamp() OR expires_at IS NULL) \
     ORDER BY id LIMIT $2";

/// The handle for token revocations.
#[derive(Clone, Copy)]
pub struct TokenRevocations<'a> {
    store: &'a ColdStore,
}

/// The tokens to revoke.
#[derive(Debug, Clone, Copy)]
pub enum RevokedTokens<'a> {
    /// The token with this ID, the claim `jti`.
    Token(&'a str),
    /// The tokens of a subject, the claim `sub`.
    Subject {
        /// The subject.
        subject: &'a Username,
        /// The earliest time of issue of the tokens that stay valid; `None` for the current time of
        /// Postgres.
        issued_before: Option<Timestamp>,
    },
}

/// A stored revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTokenRevocation {
    /// The ID of the revocation.
    pub id: Uuid,
    /// The revoked tokens.
    pub revocation: TokenRevocation,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time when the revocation is no longer needed; `None` if that is unknown.
    pub expires_at: Option<Timestamp>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    token_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    subject: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    issued_before: Option<PgTimestamp>,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<PgTimestamp>,
}

impl From<Row> for StoredTokenRevocation {
    fn from(row: Row) -> Self {
        let subject = row.subject.zip(row.issued_before);
        let revocation = row.token_id.map_or_else(
            || {
                let (subject, issued_before) = subject
                    .expect("invariant: a constraint requires a token, or a subject with a time");
                TokenRevocation::Subject { subject, issued_before: from_pg(issued_before) }
            },
            TokenRevocation::Token,
        );
        Self {
            id: row.id,
            revocation,
            created_at: from_pg(row.created_at),
            expires_at: row.expires_at.map(from_pg),
        }
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

impl ColdStore {
    /// Returns the handle for token revocations.
    #[must_use]
    pub fn token_revocations(&self) -> TokenRevocations<'_> {
        TokenRevocations { store: self }
    }
}

impl TokenRevocations<'_> {
    /// Revokes tokens, and returns the stored revocation. `lifetime` is the longest lifetime of the
    /// tokens, after which the revocation is no longer needed; `None` if it is unknown. If the
    /// tokens are already revoked, the revocation is extended and never shortened. Deletes expired
    /// revocations. The call is rejected if
    /// [`TOKEN_REVOCATIONS_MAX`](mayfly_core::limits::TOKEN_REVOCATIONS_MAX) other revocations
    /// exist.
    ///
    /// Complexity: O(r) for r revocations.
    pub async fn revoke(
        self,
        tokens: RevokedTokens<'_>,
        lifetime: Option<Duration>,
    ) -> Result<StoredTokenRevocation, ColdError> {
        let (token_id, subject, issued_before) = match tokens {
            RevokedTokens::Token(id) => (Some(id), None, None),
            RevokedTokens::Subject { subject, issued_before } => {
                (None, Some(subject.as_str()), issued_before)
            }
        };
        self.store
            .call(async |connection| {
                diesel::sql_query(REVOKE)
                    .bind::<SqlUuid, _>(Uuid::now_v7())
                    .bind::<Nullable<Text>, _>(token_id)
                    .bind::<Nullable<Text>, _>(subject)
                    .bind::<Nullable<Timestamptz>, _>(issued_before.map(to_pg))
                    .bind::<Nullable<BigInt>, _>(lifetime.map(to_millis))
                    .get_result::<Row>(connection)
                    .await
            })
            .await
            .map(StoredTokenRevocation::from)
    }

    /// Lists the unexpired revocations after an ID, in order of creation.
    ///
    /// Complexity: O(log r + e + p) for r revocations, e expired ones among the first, and p listed
    /// ones.
    pub async fn list(
        self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<StoredTokenRevocation>, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(LIST)
                    .bind::<SqlUuid, _>(after)
                    .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                    .get_results::<Row>(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(StoredTokenRevocation::from).collect())
    }

    /// Returns the version of the set of revocations. Every change to a revocation increases the
    /// version.
    ///
    /// Complexity: O(1).
    pub async fn find_version(self) -> Result<i64, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query("SELECT version FROM token_revocations_version")
                    .get_result::<Version>(connection)
                    .await
            })
            .await
            .map(|row| row.version)
    }
}
