//! Play counts per video, and their last published values.

use diesel::{
    OptionalExtension, QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Binary, Integer, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use mayfly_core::{PlayCount, PlayCursor, PublishedCount};

use super::{to_count, to_i64};
use crate::store::{ColdError, ColdStore, ReadKind, from_pg};

/// The handle for play counts.
#[derive(Clone, Copy)]
pub struct PlayCounts<'a> {
    store: &'a ColdStore,
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = Text)]
    video_id: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Timestamptz)]
    updated_at: PgTimestamp,
}

impl From<CountRow> for PlayCount {
    fn from(row: CountRow) -> Self {
        to_count(row.video_id, row.count, from_pg(row.updated_at))
    }
}

#[derive(QueryableByName)]
struct DeletedRow {
    #[diesel(sql_type = BigInt)]
    videos: i64,
}

#[derive(QueryableByName)]
struct PublishedRow {
    #[diesel(embed)]
    count: CountRow,
    #[diesel(sql_type = BigInt)]
    published: i64,
}

/// Keyset pagination: the rows after a cursor have a lower count, or the same count and a lower
/// video ID. If the cursor contains only a prefix of a long ID, the offset skips the rows with the
/// same count and this prefix that have already been listed.
const LIST: &str = "SELECT video_id, count, updated_at FROM play_counts \
     WHERE count < $2 \
         OR (count = $2 AND (convert_to(video_id, 'UTF8') < $3 \
             OR ($4 > 0 AND substring(convert_to(video_id, 'UTF8') FOR octet_length($3)) = $3))) \
     ORDER BY count DESC, video_id DESC LIMIT $1 OFFSET $4";

/// Reads a page of counts, and looks up each published value by its key. With a join, the planner
/// could read all published values from the beginning for every page.
const LIST_PUBLISHED: &str = "SELECT video_id, count, updated_at, coalesce( \
         (SELECT count FROM published_counts WHERE published_counts.video_id = known.video_id), 0 \
     ) AS published \
     FROM play_counts AS known WHERE video_id > $1 ORDER BY video_id LIMIT $2";

/// Locks the totals, deletes the published and the current counts, and updates the totals and the
/// top videos.
const DELETE: [&str; 4] = [
    "SELECT FROM play_totals FOR UPDATE",
    "DELETE FROM published_counts WHERE starts_with(video_id, $1)",
    "WITH deleted AS ( \
         DELETE FROM play_counts WHERE starts_with(video_id, $1) RETURNING count \
     ) \
     UPDATE play_totals AS totals \
     SET plays = totals.plays - sums.plays, videos = totals.videos - sums.videos \
     FROM (SELECT coalesce(sum(count), 0) AS plays, count(*) AS videos FROM deleted) AS sums \
     RETURNING sums.videos",
    "UPDATE top_videos SET list = coalesce((SELECT json_agg(best) FROM ( \
         SELECT video_id, count FROM play_counts ORDER BY count DESC, video_id LIMIT 10 \
     ) AS best), '[]')",
];

impl ColdStore {
    /// Returns the handle for play counts.
    #[must_use]
    pub fn play_counts(&self) -> PlayCounts<'_> {
        PlayCounts { store: self }
    }
}

impl PlayCounts<'_> {
    /// Finds the count of a video. Returns `None` if none of its plays have been counted.
    ///
    /// Complexity: O(log v) for v videos.
    pub async fn find(self, video_id: &str) -> Result<Option<PlayCount>, ColdError> {
        self.store
            .read(ReadKind::PlayCounts, async |connection| {
                diesel::sql_query(
                    "SELECT video_id, count, updated_at FROM play_counts WHERE video_id = $1",
                )
                .bind::<Text, _>(video_id)
                .get_result::<CountRow>(connection)
                .await
                .optional()
            })
            .await
            .map(|row| row.map(PlayCount::from))
    }

    /// Finds the counts of the given videos. Videos without counted plays are omitted.
    ///
    /// Complexity: O(n log v) for n requested videos and v videos in total.
    pub async fn find_many(self, videos: &[String]) -> Result<Vec<PlayCount>, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(
                    "SELECT video_id, count, updated_at FROM play_counts WHERE video_id = ANY ($1)",
                )
                .bind::<Array<Text>, _>(videos)
                .get_results::<CountRow>(connection)
                .await
            })
            .await
            .map(|rows| rows.into_iter().map(PlayCount::from).collect())
    }

    /// Lists the counts after a cursor, highest first. No index supports this order, because every
    /// batch would have to update the index, and the query is needed only while Redis does not have
    /// all counts.
    ///
    /// Complexity: O(v) for v videos.
    pub async fn list(
        self,
        limit: u32,
        after: Option<&PlayCursor>,
    ) -> Result<Vec<PlayCount>, ColdError> {
        let (count, video, listed) = after.map_or((i64::MAX, [].as_slice(), 0), |cursor| {
            let listed = i64::from(cursor.listed.unwrap_or(0));
            (to_i64(cursor.count), cursor.video.as_slice(), listed)
        });
        self.store
            .read(ReadKind::PlayLists, async |connection| {
                diesel::sql_query(LIST)
                    .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                    .bind::<BigInt, _>(count)
                    .bind::<Binary, _>(video)
                    .bind::<BigInt, _>(listed)
                    .get_results::<CountRow>(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(PlayCount::from).collect())
    }

    /// Lists the counts and their published values in the order of the video IDs, starting after
    /// the ID `after`.
    ///
    /// Complexity: O(p log v) for p counts in the page and v videos.
    pub async fn list_published(
        self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PublishedCount>, ColdError> {
        let rows: Vec<PublishedRow> = self
            .store
            .call(async |connection| {
                diesel::sql_query(LIST_PUBLISHED)
                    .bind::<Text, _>(after)
                    .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                    .get_results(connection)
                    .await
            })
            .await?;
        let to_published = |row: PublishedRow| PublishedCount {
            published: u64::try_from(row.published).unwrap_or(0),
            count: row.count.into(),
        };
        Ok(rows.into_iter().map(to_published).collect())
    }

    /// Records published counts. A value lower than the recorded one has no effect.
    ///
    /// Complexity: O(c log v) for c counts and v videos.
    pub async fn save_published(self, counts: &[(String, u64)]) -> Result<(), ColdError> {
        let videos: Vec<&str> = counts.iter().map(|(video, _)| video.as_str()).collect();
        let counts: Vec<i64> = counts.iter().map(|(_, count)| to_i64(*count)).collect();
        self.store
            .call(async |connection| {
                // A fixed order prevents deadlocks between two publishers.
                diesel::sql_query(
                    "INSERT INTO published_counts AS known (video_id, count) \
                     SELECT video, max(count) FROM unnest($1, $2) AS one (video, count) \
                     GROUP BY video ORDER BY video COLLATE \"C\" \
                     ON CONFLICT (video_id) \
                     DO UPDATE SET count = greatest(known.count, excluded.count)",
                )
                .bind::<Array<Text>, _>(videos)
                .bind::<Array<BigInt>, _>(counts)
                .execute(connection)
                .await
            })
            .await
            .map(|_| ())
    }

    /// Deletes the counts and the published values of all videos with IDs that start with `prefix`,
    /// and returns the number of deleted counts. The caller must ensure that no plays of these
    /// videos are counted at the same time.
    ///
    /// Complexity: O(v) for v videos, because a scan of all counts determines the new top ten.
    pub async fn delete(self, prefix: &str) -> Result<u64, ColdError> {
        self.store
            .call(async |connection| {
                connection
                    .transaction(async |connection| {
                        let [lock, published, counts, top] = DELETE;
                        diesel::sql_query(lock).execute(connection).await?;
                        let published = diesel::sql_query(published).bind::<Text, _>(prefix);
                        published.execute(connection).await?;
                        let counts = diesel::sql_query(counts).bind::<Text, _>(prefix);
                        let deleted: DeletedRow = counts.get_result(connection).await?;
                        diesel::sql_query(top).execute(connection).await?;
                        Ok(deleted)
                    })
                    .await
            })
            .await
            .map(|deleted| u64::try_from(deleted.videos).unwrap_or(0))
    }
}
