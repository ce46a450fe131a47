//! Samples of the visitors of pages, and the hours that they are rolled up into.

use std::{collections::HashMap, time::Duration};

use diesel::{
    OptionalExtension, QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Bool, Double, Integer, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{Host, Increase, PagePath, PageVisitors, Sample, Sighting, Timestamp};
use serde::Serialize;

use crate::{
    Cold,
    error::ColdError,
    messages::{from_pg, to_pg},
};

/// Hours of one list: all that are kept.
const HOURS_MAX: i32 = 24 * 400;
/// Pages of a host of which is told what is usual: those with most visitors.
const USUAL_PAGES_MAX: i32 = 10_000;
/// Days before, over which is averaged what is usual.
const USUAL_DAYS: i64 = 14;
const HOUR_MILLIS: i64 = 3_600_000;
/// How long it may take to delete some: nobody waits for it.
const DELETE_WITHIN: Duration = Duration::from_secs(10);
/// More visitors than this are stored as this: so no sum of them is too large for Postgres.
const VISITORS_MAX: u64 = 1 << 40;

const STORE: &str = "SELECT store_samples_v1($1, $2, $3, $4, $5::jsonb[], $6::jsonb[])";

const FIND_SAMPLE: &str = "SELECT sampled_at, visitors, exact, page_samples.pages::text AS pages \
     FROM page_samples JOIN hosts ON hosts.id = host_id \
     WHERE host = $1 AND sampled_at <= $2 ORDER BY sampled_at DESC LIMIT 1";

/// A title may change from hour to hour, a path does not.
const FIND_USUAL: &str = "SELECT min(path) AS path, \
         sum(visitors_sum)::float8 / sum(samples)::float8 AS average \
     FROM page_hours JOIN hosts ON hosts.id = host_id \
     WHERE host = $1 AND hour = ANY ($2) \
     GROUP BY page ORDER BY sum(visitors_sum) DESC, page LIMIT $3";

const LIST_HOURS: &str = "SELECT hour, samples, visitors_sum, least, most \
     FROM page_hours JOIN hosts ON hosts.id = host_id \
     WHERE host = $1 AND page = substring(sha256(convert_to($2, 'UTF8')) FOR 16) \
         AND hour >= $3 AND hour < $4 \
     ORDER BY hour LIMIT $5";

/// Host by host, by their primary keys. What another worker deletes just now is left to it.
const DELETE: [&str; 2] = [
    "DELETE FROM page_samples WHERE (host_id, sampled_at) IN ( \
         SELECT host_id, old.sampled_at FROM hosts CROSS JOIN LATERAL ( \
             SELECT host_id, sampled_at FROM page_samples \
             WHERE host_id = hosts.id AND sampled_at < $1 ORDER BY sampled_at LIMIT $2 \
             FOR UPDATE SKIP LOCKED \
         ) AS old LIMIT $2)",
    "DELETE FROM page_hours WHERE (host_id, hour, page) IN ( \
         SELECT host_id, old.hour, old.page FROM hosts CROSS JOIN LATERAL ( \
             SELECT host_id, hour, page FROM page_hours \
             WHERE host_id = hosts.id AND hour < $1 ORDER BY hour, page LIMIT $2 \
             FOR UPDATE SKIP LOCKED \
         ) AS old LIMIT $2)",
];

/// The visitors of a page in one hour, over the samples that it was in.
#[derive(Debug, Clone, PartialEq)]
pub struct HourRow {
    /// When the hour began.
    pub hour: Timestamp,
    /// Samples that the page was in.
    pub samples: u32,
    /// The sum of its visitors over these.
    pub visitors_sum: u64,
    /// The fewest.
    pub least: u64,
    /// The most.
    pub most: u64,
}

#[derive(QueryableByName)]
struct SampleRow {
    #[diesel(sql_type = Timestamptz)]
    sampled_at: PgTimestamp,
    #[diesel(sql_type = BigInt)]
    visitors: i64,
    #[diesel(sql_type = Bool)]
    exact: bool,
    #[diesel(sql_type = Text)]
    pages: String,
}

impl SampleRow {
    fn into_sample(self, host: Host) -> Sample {
        Sample {
            host,
            sampled_at: from_pg(self.sampled_at),
            visitors: to_u64(self.visitors),
            exact: self.exact,
            pages: serde_json::from_str(&self.pages)
                .expect("invariant: pages are stored as a sample has them"),
        }
    }
}

#[derive(QueryableByName)]
struct UsualRow {
    #[diesel(sql_type = Text)]
    path: String,
    #[diesel(sql_type = Double)]
    average: f64,
}

#[derive(QueryableByName)]
struct HourColumns {
    #[diesel(sql_type = Timestamptz)]
    hour: PgTimestamp,
    #[diesel(sql_type = Integer)]
    samples: i32,
    #[diesel(sql_type = BigInt)]
    visitors_sum: i64,
    #[diesel(sql_type = BigInt)]
    least: i64,
    #[diesel(sql_type = BigInt)]
    most: i64,
}

impl From<HourColumns> for HourRow {
    fn from(row: HourColumns) -> Self {
        Self {
            hour: from_pg(row.hour),
            samples: u32::try_from(row.samples).unwrap_or(0),
            visitors_sum: to_u64(row.visitors_sum),
            least: to_u64(row.least),
            most: to_u64(row.most),
        }
    }
}

/// Samples as the columns of one call.
#[derive(Default)]
struct Columns<'a> {
    hosts: Vec<&'a str>,
    sampled_ats: Vec<PgTimestamp>,
    visitors: Vec<i64>,
    exact: Vec<bool>,
    pages: Vec<String>,
    increases: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(sightings: &'a [Sighting]) -> Self {
        let mut columns = Self::default();
        for sighting in sightings {
            columns.hosts.push(sighting.host.as_str());
            columns.sampled_ats.push(to_pg(sighting.sampled_at));
            columns.visitors.push(to_i64(sighting.visitors));
            columns.exact.push(sighting.exact);
            columns.pages.push(to_json(&storable_pages(sighting)));
            columns.increases.push(to_json(&storable_increases(sighting)));
        }
        columns
    }
}

impl Cold {
    /// Stores samples and rolls them up into hours, in one transaction; one that is stored already
    /// counts once.
    pub async fn store_samples(
        &self,
        sightings: &[Sighting],
        timeout: Duration,
    ) -> Result<(), ColdError> {
        if sightings.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(sightings);
        self.call_within(timeout, async |connection| {
            diesel::sql_query(STORE)
                .bind::<Array<Text>, _>(&columns.hosts)
                .bind::<Array<Timestamptz>, _>(&columns.sampled_ats)
                .bind::<Array<BigInt>, _>(&columns.visitors)
                .bind::<Array<Bool>, _>(&columns.exact)
                .bind::<Array<Text>, _>(&columns.pages)
                .bind::<Array<Text>, _>(&columns.increases)
                .execute(connection)
                .await
        })
        .await
        .map(|_| ())
    }

    /// The newest sample of a host that was taken at this moment or before, if there is one.
    pub async fn find_sample(
        &self,
        host: &Host,
        at: Timestamp,
    ) -> Result<Option<Sample>, ColdError> {
        let row: Option<SampleRow> = self
            .call(async |connection| {
                diesel::sql_query(FIND_SAMPLE)
                    .bind::<Text, _>(host.as_str())
                    .bind::<Timestamptz, _>(to_pg(at))
                    .get_result(connection)
                    .await
                    .optional()
            })
            .await?;
        Ok(row.map(|row| row.into_sample(host.clone())))
    }

    /// How many visitors each page of a host usually has at the hour of the day of this moment, in
    /// UTC: its average in that hour of the 14 days before, over the samples that it was in. Of at
    /// most 10,000 pages, those with most visitors.
    pub async fn find_usual(
        &self,
        host: &Host,
        at: Timestamp,
    ) -> Result<HashMap<String, f64>, ColdError> {
        let hours = usual_hours(at);
        let rows: Vec<UsualRow> = self
            .call(async |connection| {
                diesel::sql_query(FIND_USUAL)
                    .bind::<Text, _>(host.as_str())
                    .bind::<Array<Timestamptz>, _>(&hours)
                    .bind::<Integer, _>(USUAL_PAGES_MAX)
                    .get_results(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|row| (row.path, row.average)).collect())
    }

    /// The hours of a page between two moments (those that begin at `from` or later, and before
    /// `to`), the oldest first; at most 24 * 400.
    pub async fn list_hours(
        &self,
        host: &Host,
        path: &PagePath,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourRow>, ColdError> {
        self.call(async |connection| {
            diesel::sql_query(LIST_HOURS)
                .bind::<Text, _>(host.as_str())
                .bind::<Text, _>(path.as_str())
                .bind::<Timestamptz, _>(to_pg(from))
                .bind::<Timestamptz, _>(to_pg(to))
                .bind::<Integer, _>(HOURS_MAX)
                .get_results::<HourColumns>(connection)
                .await
        })
        .await
        .map(|rows| rows.into_iter().map(HourRow::from).collect())
    }

    /// Deletes samples that were taken before one moment and hours that began before another, at most
    /// so many of each; gives how many of whichever were more, so that as many as the limit say that
    /// there may be more. Any number of callers may be at it.
    pub async fn delete_old_samples(
        &self,
        before: Timestamp,
        hours_before: Timestamp,
        limit: u32,
    ) -> Result<u64, ColdError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let [samples, hours] = DELETE;
        let mut most = 0;
        for (delete, before) in [(samples, before), (hours, hours_before)] {
            let deleted = self
                .call_within(DELETE_WITHIN, async |connection| {
                    diesel::sql_query(delete)
                        .bind::<Timestamptz, _>(to_pg(before))
                        .bind::<Integer, _>(limit)
                        .execute(connection)
                        .await
                })
                .await?;
            most = most.max(deleted as u64);
        }
        Ok(most)
    }
}

/// The same hour of the days before.
fn usual_hours(at: Timestamp) -> Vec<PgTimestamp> {
    let hour = at.as_millis() - at.as_millis().rem_euclid(HOUR_MILLIS);
    (1..=USUAL_DAYS)
        .map(|days| to_pg(Timestamp::from_millis(hour - days * 24 * HOUR_MILLIS)))
        .collect()
}

/// The pages of a sample as they are stored: what a source made up must not keep others from being
/// stored with it, and Postgres takes no U+0000.
fn storable_pages(sighting: &Sighting) -> Vec<PageVisitors> {
    let mut pages = sighting.to_sample().pages;
    for page in &mut pages {
        clean(&mut page.path);
        page.title.as_mut().map(clean);
        page.visitors = page.visitors.min(VISITORS_MAX);
    }
    pages
}

fn storable_increases(sighting: &Sighting) -> Vec<Increase> {
    let mut increases = sighting.to_increases();
    for increase in &mut increases {
        clean(&mut increase.path);
        increase.title.as_mut().map(clean);
    }
    increases
}

fn clean(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("invariant: texts and numbers are JSON")
}

fn to_i64(visitors: u64) -> i64 {
    i64::try_from(visitors.min(VISITORS_MAX)).unwrap_or(i64::MAX)
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
