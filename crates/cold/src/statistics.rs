//! Statistics, read from rollups that are maintained at write time.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{
    Snapshot, Timestamp, VideoCount,
    stats::{CityCount, MessageCounts, PlayCounts, RunResult},
};

use crate::store::{ColdError, ColdStore, to_pg};

/// The handle for statistics.
#[derive(Clone, Copy)]
pub struct Statistics<'a> {
    store: &'a ColdStore,
}

/// Selects whether the migrations have created the rollups.
const HAS_ROLLUPS: &str = "SELECT to_regclass('play_totals') IS NOT NULL AS has_rollups";

/// Reads all values in a single statement, and therefore from one consistent snapshot. A row of
/// `message_seconds` is included if its second started within the hour or minute before `$1`. The
/// conditions on `single` tell the planner that the tables with this column have one row each.
/// While Postgres has no statistics for these tables, the planner would otherwise expect about
/// 10^15 rows from the join.
const READ: &str = "SELECT totals.cities, totals.users, totals.messages, \
         recent.last_hour, recent.last_minute, top_cities.list::text AS top_cities, \
         play_totals.plays, play_totals.videos, top_videos.list::text AS top_videos \
     FROM message_totals AS totals, top_cities, play_totals, top_videos, statistics_fill AS fill, ( \
         SELECT coalesce(sum(messages), 0)::bigint AS last_hour, \
             coalesce(sum(messages) FILTER (WHERE second > $1 - interval '1 minute'), 0)::bigint \
                 AS last_minute \
         FROM message_seconds \
         WHERE second > $1 - interval '1 hour' AND second <= $1 \
     ) AS recent \
     WHERE totals.single AND top_cities.single AND play_totals.single AND top_videos.single \
         AND fill.single AND fill.filled_to >= fill.up_to";

#[derive(QueryableByName)]
struct HasRollups {
    #[diesel(sql_type = Bool)]
    has_rollups: bool,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    cities: i64,
    #[diesel(sql_type = BigInt)]
    users: i64,
    #[diesel(sql_type = BigInt)]
    messages: i64,
    #[diesel(sql_type = BigInt)]
    last_hour: i64,
    #[diesel(sql_type = BigInt)]
    last_minute: i64,
    #[diesel(sql_type = Text)]
    top_cities: String,
    #[diesel(sql_type = BigInt)]
    plays: i64,
    #[diesel(sql_type = BigInt)]
    videos: i64,
    #[diesel(sql_type = Text)]
    top_videos: String,
}

impl Row {
    fn into_snapshot(self, generated_at: Timestamp) -> Snapshot {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let top_cities: Vec<CityCount> = serde_json::from_str(&self.top_cities)
            .expect("invariant: the migrations write cities in the format of a snapshot");
        let top_videos: Vec<VideoCount> = serde_json::from_str(&self.top_videos)
            .expect("invariant: the migrations write videos in the format of a snapshot");
        Snapshot {
            result: RunResult::Success,
            generated_at,
            cities: count(self.cities),
            users: count(self.users),
            messages: MessageCounts {
                total: count(self.messages),
                last_hour: count(self.last_hour),
                last_minute: count(self.last_minute),
            },
            top_cities,
            plays: PlayCounts {
                total: count(self.plays),
                videos: count(self.videos),
                top: top_videos,
            },
        }
    }
}

impl ColdStore {
    /// Returns the handle for statistics.
    #[must_use]
    pub fn statistics(&self) -> Statistics<'_> {
        Statistics { store: self }
    }
}

impl Statistics<'_> {
    /// Reads a consistent snapshot. Returns `None` until the migrations have created and filled the
    /// rollups.
    ///
    /// `last_hour` and `last_minute` cover the messages stored so far, with a resolution of one
    /// second: a message counts if the second of its `created_at` started within the hour or minute
    /// before `now`. The covered time span is therefore up to one second shorter than an hour or a
    /// minute, and never longer.
    ///
    /// Complexity: O(1). Reads the totals and up to 4,200 rows of `message_seconds`.
    pub async fn read(self, now: Timestamp) -> Result<Option<Snapshot>, ColdError> {
        let row = self
            .store
            .call(async |connection| {
                let row: HasRollups = diesel::sql_query(HAS_ROLLUPS).get_result(connection).await?;
                if !row.has_rollups {
                    return Ok(None);
                }
                diesel::sql_query(READ)
                    .bind::<Timestamptz, _>(to_pg(now))
                    .get_result::<Row>(connection)
                    .await
                    .optional()
            })
            .await?;
        Ok(row.map(|row| row.into_snapshot(now)))
    }
}
