//! Statistics, read from what is counted when messages are stored.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{
    Snapshot, Timestamp,
    frame::VideoCount,
    snapshot::{CityCount, MessageCounts, PlayCounts, RunResult},
};

use crate::{Cold, error::ColdError, messages::to_pg};

/// Whether there is anything to read: a Postgres that was not migrated has no such tables.
const IS_COUNTED: &str = "SELECT to_regclass('play_totals') IS NOT NULL AS is_counted";

/// One statement sees one instant. A second counts if it began within the time asked for: nothing
/// older does.
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
     WHERE fill.filled_to >= fill.up_to";

#[derive(QueryableByName)]
struct IsCounted {
    #[diesel(sql_type = Bool)]
    is_counted: bool,
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
            .expect("invariant: a migration writes cities as a snapshot has them");
        let top_videos: Vec<VideoCount> = serde_json::from_str(&self.top_videos)
            .expect("invariant: a migration writes videos as a snapshot has them");
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

impl Cold {
    /// Reads the statistics as they are at one instant, at a cost that does not grow with what is
    /// stored. None while a migration still counts what was stored before there were any, or where
    /// none has begun to.
    ///
    /// `last_hour` and `last_minute` are of what is stored by now. They are true to a whole second:
    /// a message counts with the second of its `created_at`, which counts if it began within the
    /// hour or the minute before `now`. So the oldest message that counts is never too old, and at
    /// most one second less is covered.
    pub async fn read_statistics(&self, now: Timestamp) -> Result<Option<Snapshot>, ColdError> {
        let row = self
            .call(async |connection| {
                let counted: IsCounted =
                    diesel::sql_query(IS_COUNTED).get_result(connection).await?;
                if !counted.is_counted {
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
