//! The ledger: the numbers of accepted, stored and dead-lettered items, by epoch of Redis.

use diesel::{
    data_types::PgTimestamp,
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use mayfly_core::Timestamp;

use crate::store::{ColdError, ColdStore, from_pg, ledger};

/// The handle for the ledger.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    store: &'a ColdStore,
}

/// The ledger of one kind of item in one epoch.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// The epoch of Redis.
    pub epoch: String,
    /// `messages` or `plays`.
    pub kind: String,
    /// The number of accepted items, as last observed: at most a second before Redis lost data.
    pub accepted: u64,
    /// The number of stored items.
    pub stored: u64,
    /// The number of dead-lettered items.
    pub dead_lettered: u64,
    /// The time when the epoch was first observed.
    pub started_at: Timestamp,
    /// The time when the end of the epoch was observed.
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
        let to_count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            epoch: row.epoch,
            kind: row.kind,
            accepted: to_count(row.accepted),
            stored: to_count(row.stored),
            dead_lettered: to_count(row.dead_lettered),
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

impl ColdStore {
    /// Returns the handle for the ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { store: self }
    }
}

impl Ledger<'_> {
    /// Lists the ledger of one kind of item by epoch, oldest first.
    pub async fn list(self, kind: &str) -> Result<Vec<LedgerRow>, ColdError> {
        self.store
            .call(async |connection| {
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

    /// Finds the ledger of one kind of item in one epoch.
    pub async fn find(self, epoch: &str, kind: &str) -> Result<Option<LedgerRow>, ColdError> {
        self.store
            .call(async |connection| {
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

    /// Records the number of items accepted so far in the current epoch, and ends all other epochs.
    /// A worker that stalled since it read Redis may pass an epoch that has ended; the next
    /// observation corrects that.
    pub async fn observe(self, epoch: &str, kind: &str, accepted: u64) -> Result<(), ColdError> {
        self.store
            .call(async |connection| {
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
}
