//! Counts batches of plays, one transaction per batch. Each entry is counted exactly once, even if
//! it is redelivered.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{
    EntryId, PlayCount,
    plays::{PlaysView, fingerprint},
};
use uuid::Uuid;

use super::{Plays, to_count, to_i64};
use crate::{
    outcome::EntryOutcome,
    store::{ColdError, from_pg, to_pg},
};

/// An entry to count.
#[derive(Debug)]
pub struct NewPlays<'a> {
    /// The ID of the entry in the stream.
    pub entry_id: EntryId,
    /// The body of the entry.
    pub plays: PlaysView<'a>,
}

/// The entries of one epoch that are counted in one transaction.
#[derive(Debug, Default)]
pub struct PlaysBatch<'a> {
    /// The epoch in which the entries were accepted. The ledger counts stored plays per epoch. A
    /// new epoch begins after Redis has lost data.
    pub epoch: &'a str,
    /// The entries.
    pub entries: Vec<NewPlays<'a>>,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedPlays {
    /// The current counts of all videos in the batch.
    pub counts: Vec<PlayCount>,
    /// The number of plays that were not counted, because a play of the same video with the same ID
    /// had already been counted, or because their entire entry had already been counted or
    /// dead-lettered.
    pub duplicates: u64,
}

#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = Array<SqlUuid>)]
    counted: Vec<Uuid>,
    #[diesel(sql_type = BigInt)]
    repeated: i64,
    #[diesel(sql_type = Array<Text>)]
    count_videos: Vec<String>,
    #[diesel(sql_type = Array<BigInt>)]
    counts: Vec<i64>,
    #[diesel(sql_type = Array<Timestamptz>)]
    updated: Vec<PgTimestamp>,
}

#[derive(QueryableByName)]
struct EntryOutcomeRow {
    #[diesel(embed)]
    counted: CountedRow,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
}

/// The arguments of the SQL functions: a batch, excluding the entries that are known to have been
/// counted or dead-lettered.
struct Arguments<'a> {
    entries: Vec<Uuid>,
    entry_millis: Vec<i64>,
    entry_numbers: Vec<i64>,
    accepted_at: Vec<PgTimestamp>,
    first: EntryId,
    last: EntryId,
    /// The number of plays without an ID, by video. Zero if the count of the video is only looked
    /// up.
    by_video: BTreeMap<&'a str, i64>,
    named_videos: Vec<&'a str>,
    named_plays: Vec<Uuid>,
    named_at: Vec<PgTimestamp>,
    /// The number of plays in the excluded entries.
    skipped: u64,
}

impl<'a> Arguments<'a> {
    fn new(batch: &'a PlaysBatch<'_>, counted: &HashSet<Uuid>) -> Self {
        let entry_ids = || batch.entries.iter().map(|entry| entry.entry_id);
        let mut arguments = Self {
            entries: Vec::with_capacity(batch.entries.len()),
            entry_millis: Vec::with_capacity(batch.entries.len()),
            entry_numbers: Vec::with_capacity(batch.entries.len()),
            accepted_at: Vec::with_capacity(batch.entries.len()),
            first: entry_ids().min().unwrap_or(EntryId::START),
            last: entry_ids().max().unwrap_or(EntryId::START),
            by_video: BTreeMap::new(),
            named_videos: Vec::new(),
            named_plays: Vec::new(),
            named_at: Vec::new(),
            skipped: 0,
        };
        for NewPlays { entry_id, plays } in &batch.entries {
            arguments.add(*entry_id, plays, counted.contains(&plays.id));
        }
        arguments
    }

    fn add(&mut self, entry_id: EntryId, entry: &'a PlaysView<'_>, is_counted: bool) {
        if is_counted {
            self.skipped += entry.plays.len() as u64;
        } else {
            self.entries.push(entry.id);
            self.entry_millis.push(to_i64(entry_id.millis));
            self.entry_numbers.push(to_i64(entry_id.number));
            self.accepted_at.push(to_pg(entry.enqueued_at));
        }
        for play in &entry.plays {
            match &play.play_id {
                Some(play_id) if !is_counted => {
                    self.named_videos.push(&play.video_id);
                    self.named_plays.push(fingerprint(&play.video_id, play_id));
                    self.named_at.push(to_pg(entry.enqueued_at));
                }
                _ => *self.by_video.entry(&play.video_id).or_default() += i64::from(!is_counted),
            }
        }
    }
}

const COUNT: &str = "SELECT counted, repeated, count_videos, counts, updated \
     FROM count_plays_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const TRY_COUNT: &str = "SELECT counted, repeated, count_videos, counts, updated, refusal \
     FROM try_count_plays_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// Binds a batch in the parameter order of both SQL functions.
macro_rules! bind_arguments {
    ($statement:expr, $epoch:expr, $arguments:expr) => {{
        let (videos, plays): (Vec<&str>, Vec<i64>) =
            $arguments.by_video.iter().map(|(video, plays)| (*video, *plays)).unzip();
        diesel::sql_query($statement)
            .bind::<Text, _>($epoch)
            .bind::<Array<SqlUuid>, _>(&$arguments.entries)
            .bind::<Array<BigInt>, _>(&$arguments.entry_millis)
            .bind::<Array<BigInt>, _>(&$arguments.entry_numbers)
            .bind::<Array<Timestamptz>, _>(&$arguments.accepted_at)
            .bind::<BigInt, _>(to_i64($arguments.first.millis))
            .bind::<BigInt, _>(to_i64($arguments.first.number))
            .bind::<BigInt, _>(to_i64($arguments.last.millis))
            .bind::<BigInt, _>(to_i64($arguments.last.number))
            .bind::<Array<Text>, _>(videos)
            .bind::<Array<BigInt>, _>(plays)
            .bind::<Array<Text>, _>(&$arguments.named_videos)
            .bind::<Array<SqlUuid>, _>(&$arguments.named_plays)
            .bind::<Array<Timestamptz>, _>(&$arguments.named_at)
    }};
}

impl Plays<'_> {
    /// Counts a batch in one transaction. Entries that have already been counted or dead-lettered
    /// change nothing, but the current counts of their videos are also returned.
    ///
    /// Complexity: O(p log v + c) for p plays in the batch, v videos and play IDs, and c records of
    /// counted entries since the first entry of the batch.
    pub async fn count_batch(
        self,
        batch: &PlaysBatch<'_>,
        timeout: Duration,
    ) -> Result<CountedPlays, ColdError> {
        let mut counted = HashSet::new();
        loop {
            let arguments = Arguments::new(batch, &counted);
            let row: CountedRow = self
                .store
                .call_within(timeout, async |connection| {
                    bind_arguments!(COUNT, batch.epoch, arguments).get_result(connection).await
                })
                .await?;
            if row.counted.is_empty() {
                return Ok(row.into_counted(arguments.skipped));
            }
            counted.extend(row.counted);
        }
    }

    /// Counts a batch of one entry. If Postgres rejects the entry, returns
    /// [`EntryOutcome::Rejected`], not an error.
    ///
    /// Complexity: O(p log v + c), as for [`count_batch`](Self::count_batch).
    pub async fn try_count_batch(
        self,
        batch: &PlaysBatch<'_>,
        timeout: Duration,
    ) -> Result<EntryOutcome<CountedPlays>, ColdError> {
        let mut counted = HashSet::new();
        loop {
            let arguments = Arguments::new(batch, &counted);
            let row: EntryOutcomeRow = self
                .store
                .call_within(timeout, async |connection| {
                    bind_arguments!(TRY_COUNT, batch.epoch, arguments).get_result(connection).await
                })
                .await?;
            if let Some(refusal) = row.refusal {
                return Ok(EntryOutcome::Rejected(refusal));
            }
            if row.counted.counted.is_empty() {
                return Ok(EntryOutcome::Stored(row.counted.into_counted(arguments.skipped)));
            }
            counted.extend(row.counted.counted);
        }
    }
}

impl CountedRow {
    fn into_counted(self, skipped: u64) -> CountedPlays {
        let updated = self.updated.into_iter().map(from_pg);
        let counts = self.count_videos.into_iter().zip(self.counts).zip(updated);
        let counts =
            counts.map(|((video_id, count), updated_at)| to_count(video_id, count, updated_at));
        let duplicates = u64::try_from(self.repeated).unwrap_or(0) + skipped;
        CountedPlays { counts: counts.collect(), duplicates }
    }
}
