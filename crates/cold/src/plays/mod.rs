//! Counts plays exactly once, and reads the count of each video.

mod batch;
mod counts;

use std::collections::HashSet;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{EntryId, PlayCount, Timestamp};
use uuid::Uuid;

pub use batch::{CountedPlays, NewPlays, PlaysBatch};
pub use counts::PlayCounts;

use crate::store::{ColdError, ColdStore};

/// The maximum number of records that one statement prunes.
const PRUNED_MAX: i64 = 1_000;

/// Deletes the oldest records first, so that the position in `counted_marks` is correct after each
/// statement.
const PRUNE: &str = "WITH deleted AS ( \
         DELETE FROM counted_entries WHERE ctid = ANY (ARRAY( \
             SELECT ctid FROM counted_entries WHERE (last_ms, last_number) <= ($1, $2) \
             ORDER BY last_ms, last_number LIMIT $3 \
         )) RETURNING epoch, last_ms, last_number \
     ), marked AS ( \
         INSERT INTO counted_marks AS known (epoch, ms, number, marked_at) \
         SELECT DISTINCT ON (epoch) epoch, last_ms, last_number, clock_timestamp() \
         FROM deleted ORDER BY epoch, last_ms DESC, last_number DESC \
         ON CONFLICT (epoch) DO UPDATE SET \
             ms = excluded.ms, number = excluded.number, marked_at = excluded.marked_at \
         WHERE (known.ms, known.number) < (excluded.ms, excluded.number) \
     ) \
     SELECT count(*) AS deleted FROM deleted";

#[derive(QueryableByName)]
struct PrunedRow {
    #[diesel(sql_type = BigInt)]
    deleted: i64,
}

/// The handle for plays.
#[derive(Clone, Copy)]
pub struct Plays<'a> {
    store: &'a ColdStore,
}

impl ColdStore {
    /// Returns the handle for plays.
    #[must_use]
    pub fn plays(&self) -> Plays<'_> {
        Plays { store: self }
    }
}

impl Plays<'_> {
    /// Returns the IDs of the given entries that are recorded as counted or dead-lettered.
    ///
    /// Complexity: O(c + e log d) for e given entries, d dead letters and c records of counted
    /// entries. Records are pruned after their entries have been acknowledged.
    pub async fn find_processed(self, entries: &[Uuid]) -> Result<HashSet<Uuid>, ColdError> {
        #[derive(QueryableByName)]
        struct Id {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
        }
        self.store
            .call(async |connection| {
                diesel::sql_query(
                    "SELECT id FROM counted_entries, unnest(ids) AS id \
                         JOIN unnest($1) AS wanted (id) USING (id) \
                     UNION SELECT plays_id AS id FROM dead_letters WHERE plays_id = ANY ($1)",
                )
                .bind::<Array<SqlUuid>, _>(entries)
                .get_results::<Id>(connection)
                .await
            })
            .await
            .map(|ids| ids.into_iter().map(|row| row.id).collect())
    }

    /// Deletes the records of counted entries up to `up_to`, and stores the last deleted position
    /// in each epoch instead. All entries up to `up_to` must have been acknowledged. Each statement
    /// deletes at most 1,000 records.
    ///
    /// Complexity: O(log c + d) for c records and d deleted records, in bounded statements.
    pub async fn prune_counted_entries(self, up_to: EntryId) -> Result<(), ColdError> {
        loop {
            let row: PrunedRow = self
                .store
                .call(async |connection| {
                    diesel::sql_query(PRUNE)
                        .bind::<BigInt, _>(to_i64(up_to.millis))
                        .bind::<BigInt, _>(to_i64(up_to.number))
                        .bind::<BigInt, _>(PRUNED_MAX)
                        .get_result(connection)
                        .await
                })
                .await?;
            if row.deleted < PRUNED_MAX {
                return Ok(());
            }
        }
    }

    /// Deletes the play IDs that were recorded three days ago, and returns whether any existed.
    ///
    /// Complexity: O(1), because the deletion truncates a partition.
    pub async fn prune_play_ids(self) -> Result<bool, ColdError> {
        #[derive(QueryableByName)]
        struct Pruned {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            pruned: bool,
        }
        self.store
            .call(async |connection| {
                diesel::sql_query("SELECT forget_known_plays_v1() AS pruned")
                    .get_result::<Pruned>(connection)
                    .await
            })
            .await
            .map(|row| row.pruned)
    }
}

pub(crate) fn to_count(video_id: String, count: i64, updated_at: Timestamp) -> PlayCount {
    PlayCount { video_id, count: u64::try_from(count).unwrap_or(0), updated_at }
}

pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
