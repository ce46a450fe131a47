//! The ledger: what was accepted, stored and dead-lettered, by epoch of Redis.

use diesel::{
    data_types::PgTimestamp,
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{MessageId, Timestamp};
use uuid::Uuid;

use crate::{
    Cold,
    error::ColdError,
    messages::from_pg,
    schema::{dead_letters, ledger, messages},
};

/// What Postgres knows of one kind of thing in one epoch.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// The epoch of Redis.
    pub epoch: String,
    /// `messages` or `plays`.
    pub kind: String,
    /// How many were accepted when a worker last looked, at most a second before Redis lost data.
    pub accepted: u64,
    /// How many were stored.
    pub stored: u64,
    /// How many became dead letters.
    pub dead_lettered: u64,
    /// When the epoch was first seen.
    pub started_at: Timestamp,
    /// When it was seen to be over.
    pub ended_at: Option<Timestamp>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = ledger, check_for_backend(diesel::pg::Pg))]
struct Row {
    epoch: String,
    kind: String,
    accepted: i64,
    stored: i64,
    dead_lettered: i64,
    started_at: PgTimestamp,
    ended_at: Option<PgTimestamp>,
}

impl From<Row> for LedgerRow {
    fn from(row: Row) -> Self {
        let total = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            epoch: row.epoch,
            kind: row.kind,
            accepted: total(row.accepted),
            stored: total(row.stored),
            dead_lettered: total(row.dead_lettered),
            started_at: from_pg(row.started_at),
            ended_at: row.ended_at.map(from_pg),
        }
    }
}

const OBSERVE: &str = "WITH present AS ( \
         INSERT INTO ledger AS known (epoch, kind, accepted) VALUES ($1, $2, $3) \
         ON CONFLICT (epoch, kind) \
         DO UPDATE SET accepted = greatest(known.accepted, excluded.accepted), ended_at = NULL \
         WHERE known.accepted < excluded.accepted OR known.ended_at IS NOT NULL \
     ) \
     UPDATE ledger SET ended_at = now() WHERE kind = $2 AND epoch <> $1 AND ended_at IS NULL";

impl Cold {
    /// What is known of one kind of thing, epoch by epoch, the newest last.
    pub async fn list_ledger(&self, kind: &str) -> Result<Vec<LedgerRow>, ColdError> {
        self.call(async |connection| {
            ledger::table
                .filter(ledger::kind.eq(kind))
                .order((ledger::started_at.asc(), ledger::epoch.asc()))
                .select(Row::as_select())
                .load::<Row>(connection)
                .await
        })
        .await
        .map(|rows| rows.into_iter().map(LedgerRow::from).collect())
    }

    /// What is known of one kind of thing in one epoch.
    pub async fn find_ledger(
        &self,
        epoch: &str,
        kind: &str,
    ) -> Result<Option<LedgerRow>, ColdError> {
        self.call(async |connection| {
            ledger::table
                .find((epoch, kind))
                .select(Row::as_select())
                .first::<Row>(connection)
                .await
                .optional()
        })
        .await
        .map(|row| row.map(LedgerRow::from))
    }

    /// Writes down how many were accepted so far in the present epoch; every other one is over. A
    /// worker that was held up since it asked Redis may name an epoch that is over; the next one
    /// that asks puts it right.
    pub async fn observe_ledger(
        &self,
        epoch: &str,
        kind: &str,
        accepted: u64,
    ) -> Result<(), ColdError> {
        self.call(async |connection| {
            diesel::sql_query(OBSERVE)
                .bind::<Text, _>(epoch)
                .bind::<Text, _>(kind)
                .bind::<BigInt, _>(i64::try_from(accepted).unwrap_or(i64::MAX))
                .execute(connection)
                .await
        })
        .await
        .map(|_| ())
    }

    /// How many of these messages have an outcome already: stored, or among the dead letters.
    pub async fn count_settled_messages(&self, ids: &[MessageId]) -> Result<u64, ColdError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.call(async |connection| {
            let stored: i64 = messages::table
                .filter(messages::id.eq_any(&ids))
                .count()
                .get_result(connection)
                .await?;
            let dead: i64 = dead_letters::table
                .filter(dead_letters::message_id.eq_any(&ids))
                .count()
                .get_result(connection)
                .await?;
            Ok(u64::try_from(stored + dead).unwrap_or(0))
        })
        .await
    }
}
