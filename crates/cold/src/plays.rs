//! Counting plays: one statement a batch, exactly once, however often an entry is delivered.

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
    EntryId, PlayCount, Timestamp,
    play::{PlaysView, fingerprint},
};
use uuid::Uuid;

use crate::{
    Cold,
    error::ColdError,
    messages::{from_pg, to_pg},
    store::Tried,
};

/// An entry on its way to be counted.
#[derive(Debug)]
pub struct NewPlays<'a> {
    /// Its place in the stream.
    pub place: EntryId,
    /// What it says.
    pub plays: PlaysView<'a>,
}

/// What is counted in one transaction: entries of one epoch.
#[derive(Debug, Default)]
pub struct PlaysBatch<'a> {
    /// The epoch whose ledger counts the plays.
    pub epoch: &'a str,
    /// The entries.
    pub entries: Vec<NewPlays<'a>>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedPlays {
    /// The present counts of all videos that it names.
    pub counts: Vec<PlayCount>,
    /// Plays that had been counted before, by their id or with their entry.
    pub repeated: u64,
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
struct TriedRow {
    #[diesel(embed)]
    counted: CountedRow,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
}

/// The arguments of the functions: a batch without the entries that are counted already.
struct Sums<'a> {
    entries: Vec<Uuid>,
    places_ms: Vec<i64>,
    places_number: Vec<i64>,
    accepted: Vec<PgTimestamp>,
    first: EntryId,
    last: EntryId,
    /// Plays without an id, by video; none where it is only looked up.
    by_video: BTreeMap<&'a str, i64>,
    named_videos: Vec<&'a str>,
    named_plays: Vec<Uuid>,
    named_at: Vec<PgTimestamp>,
    /// Plays that are left out.
    left_out: u64,
}

impl<'a> Sums<'a> {
    fn of(batch: &'a PlaysBatch<'_>, counted: &HashSet<Uuid>) -> Self {
        let places = || batch.entries.iter().map(|entry| entry.place);
        let mut sums = Self {
            entries: Vec::with_capacity(batch.entries.len()),
            places_ms: Vec::with_capacity(batch.entries.len()),
            places_number: Vec::with_capacity(batch.entries.len()),
            accepted: Vec::with_capacity(batch.entries.len()),
            first: places().min().unwrap_or(EntryId::START),
            last: places().max().unwrap_or(EntryId::START),
            by_video: BTreeMap::new(),
            named_videos: Vec::new(),
            named_plays: Vec::new(),
            named_at: Vec::new(),
            left_out: 0,
        };
        for NewPlays { place, plays } in &batch.entries {
            sums.add(*place, plays, counted.contains(&plays.id));
        }
        sums
    }

    fn add(&mut self, place: EntryId, entry: &'a PlaysView<'_>, is_counted: bool) {
        if is_counted {
            self.left_out += entry.plays.len() as u64;
        } else {
            self.entries.push(entry.id);
            self.places_ms.push(to_i64(place.millis));
            self.places_number.push(to_i64(place.number));
            self.accepted.push(to_pg(entry.enqueued_at));
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

/// Binds a batch, in the order of the functions' arguments.
macro_rules! bind_sums {
    ($statement:expr, $epoch:expr, $sums:expr) => {{
        let (videos, plays): (Vec<&str>, Vec<i64>) =
            $sums.by_video.iter().map(|(video, plays)| (*video, *plays)).unzip();
        diesel::sql_query($statement)
            .bind::<Text, _>($epoch)
            .bind::<Array<SqlUuid>, _>(&$sums.entries)
            .bind::<Array<BigInt>, _>(&$sums.places_ms)
            .bind::<Array<BigInt>, _>(&$sums.places_number)
            .bind::<Array<Timestamptz>, _>(&$sums.accepted)
            .bind::<BigInt, _>(to_i64($sums.first.millis))
            .bind::<BigInt, _>(to_i64($sums.first.number))
            .bind::<BigInt, _>(to_i64($sums.last.millis))
            .bind::<BigInt, _>(to_i64($sums.last.number))
            .bind::<Array<Text>, _>(videos)
            .bind::<Array<BigInt>, _>(plays)
            .bind::<Array<Text>, _>(&$sums.named_videos)
            .bind::<Array<SqlUuid>, _>(&$sums.named_plays)
            .bind::<Array<Timestamptz>, _>(&$sums.named_at)
    }};
}

impl Cold {
    /// Counts a batch in one transaction: all of it, or nothing. Entries that are counted already
    /// count no more; the counts of their videos are answered nevertheless.
    pub async fn count_plays(
        &self,
        batch: &PlaysBatch<'_>,
        timeout: Duration,
    ) -> Result<CountedPlays, ColdError> {
        let mut counted = HashSet::new();
        loop {
            let sums = Sums::of(batch, &counted);
            let row: CountedRow = self
                .call_within(timeout, async |connection| {
                    bind_sums!(COUNT, batch.epoch, sums).get_result(connection).await
                })
                .await?;
            if row.counted.is_empty() {
                return Ok(row.into_counted(sums.left_out));
            }
            counted.extend(row.counted);
        }
    }

    /// Counts what is tried alone; a refusal of this very entry is an answer.
    pub async fn try_count_plays(
        &self,
        batch: &PlaysBatch<'_>,
        timeout: Duration,
    ) -> Result<Tried<CountedPlays>, ColdError> {
        let mut counted = HashSet::new();
        loop {
            let sums = Sums::of(batch, &counted);
            let row: TriedRow = self
                .call_within(timeout, async |connection| {
                    bind_sums!(TRY_COUNT, batch.epoch, sums).get_result(connection).await
                })
                .await?;
            if let Some(refusal) = row.refusal {
                return Ok(Tried::Refused(refusal));
            }
            if row.counted.counted.is_empty() {
                return Ok(Tried::Stored(row.counted.into_counted(sums.left_out)));
            }
            counted.extend(row.counted.counted);
        }
    }

    /// Which of these entries have their outcome and are not yet forgotten: they are counted, or
    /// among the dead letters.
    pub async fn find_settled_plays(&self, entries: &[Uuid]) -> Result<HashSet<Uuid>, ColdError> {
        #[derive(QueryableByName)]
        struct Id {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
        }
        self.call(async |connection| {
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

    /// Forgets which entries are counted, batch by batch, up to a place in the stream up to which all
    /// are acknowledged; what is remembered of them is that place.
    pub async fn forget_counted(&self, up_to: EntryId) -> Result<(), ColdError> {
        self.call(async |connection| {
            diesel::sql_query(
                "WITH gone AS ( \
                     DELETE FROM counted_entries WHERE (last_ms, last_number) <= ($1, $2) \
                     RETURNING epoch, last_ms, last_number \
                 ) \
                 INSERT INTO counted_marks AS known (epoch, ms, number, marked_at) \
                 SELECT DISTINCT ON (epoch) epoch, last_ms, last_number, clock_timestamp() FROM gone \
                 ORDER BY epoch, last_ms DESC, last_number DESC \
                 ON CONFLICT (epoch) DO UPDATE SET \
                     ms = excluded.ms, number = excluded.number, marked_at = excluded.marked_at \
                 WHERE (known.ms, known.number) < (excluded.ms, excluded.number)",
            )
            .bind::<BigInt, _>(to_i64(up_to.millis))
            .bind::<BigInt, _>(to_i64(up_to.number))
            .execute(connection)
            .await
        })
        .await
        .map(|_| ())
    }

    /// Forgets ids of plays that were counted three days ago, all at once. Gives whether there were
    /// any.
    pub async fn forget_known_plays(&self) -> Result<bool, ColdError> {
        #[derive(QueryableByName)]
        struct Forgotten {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            forgotten: bool,
        }
        self.call(async |connection| {
            diesel::sql_query("SELECT forget_known_plays_v1() AS forgotten")
                .get_result::<Forgotten>(connection)
                .await
        })
        .await
        .map(|row| row.forgotten)
    }
}

impl CountedRow {
    fn into_counted(self, left_out: u64) -> CountedPlays {
        let updated = self.updated.into_iter().map(from_pg);
        let counts = self.count_videos.into_iter().zip(self.counts).zip(updated);
        let counts =
            counts.map(|((video_id, count), updated_at)| to_count(video_id, count, updated_at));
        let repeated = u64::try_from(self.repeated).unwrap_or(0) + left_out;
        CountedPlays { counts: counts.collect(), repeated }
    }
}

pub(crate) fn to_count(video_id: String, count: i64, updated_at: Timestamp) -> PlayCount {
    PlayCount { video_id, count: u64::try_from(count).unwrap_or(0), updated_at }
}

pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
