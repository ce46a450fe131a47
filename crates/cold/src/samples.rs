//! Samples of the number of visitors to each page, and hourly rollups of the samples.

use std::{collections::HashMap, time::Duration};

use diesel::{
    OptionalExtension, QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use mayfly_core::{
    Host, HourTotals, Increase, PagePath, PageVisitors, Sample, Timestamp, TrendSnapshot,
};
use serde::Serialize;

use crate::store::{ColdError, ColdStore, ReadKind, from_pg, to_pg};

/// The maximum number of hours in a list: the entire retention period of 400 days.
const HOURS_MAX: i32 = 24 * 400;
/// The maximum number of pages in a baseline.
const BASELINE_PAGES_MAX: i32 = 10_000;
/// The number of days over which a baseline is averaged.
const BASELINE_DAYS: i64 = 14;
const HOUR_MILLIS: i64 = 3_600_000;
/// The maximum number of hosts from which one statement deletes old rows.
const DELETE_HOSTS: i64 = 1_000;
/// The timeout of a statement that deletes old rows, which runs in the background.
const DELETE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum stored number of visitors. Greater numbers are stored as this number, so that no sum
/// overflows in Postgres.
const VISITORS_MAX: u64 = 1 << 40;

const STORE: &str = "SELECT store_samples_v1($1, $2, $3, $4, $5::jsonb[], $6::jsonb[])";

/// Looks up the host in a subquery. With a join, Postgres would read and sort all samples of the
/// host, because the planner does not infer that only one host matches.
const FIND_SAMPLE: &str = "SELECT sampled_at, visitors, exact, pages::text AS pages \
     FROM page_samples \
     WHERE host_id = (SELECT id FROM hosts WHERE host = $1) AND sampled_at <= $2 \
     ORDER BY sampled_at DESC LIMIT 1";

const FIND_BASELINE: &str = "SELECT min(path) AS path, \
         sum(visitors_sum)::float8 / sum(samples)::float8 AS average \
     FROM page_hours \
     WHERE host_id = (SELECT id FROM hosts WHERE host = $1) AND hour = ANY ($2) \
     GROUP BY page ORDER BY sum(visitors_sum) DESC, page LIMIT $3";

const LIST_HOURS: &str = "SELECT hour, samples, visitors_sum, least, most \
     FROM page_hours \
     WHERE host_id = (SELECT id FROM hosts WHERE host = $1) \
         AND page = substring(sha256(convert_to($2, 'UTF8')) FOR 16) \
         AND hour >= $3 AND hour < $4 \
     ORDER BY hour LIMIT $5";

/// Selects the last ID in the next range of hosts.
const NEXT_HOSTS: &str = "SELECT max(id) AS last_id \
     FROM (SELECT id FROM hosts WHERE id > $1 ORDER BY id LIMIT $2) AS next";

/// Deletes old rows by primary key, host by host. The Postgres clock determines the age of a row.
/// Skips rows that another worker is deleting.
const DELETE: [&str; 2] = [
    "DELETE FROM page_samples WHERE (host_id, sampled_at) IN ( \
         SELECT host_id, old.sampled_at FROM hosts CROSS JOIN LATERAL ( \
             SELECT host_id, sampled_at FROM page_samples \
             WHERE host_id = hosts.id AND sampled_at < now() - $1 * interval '1 second' \
             ORDER BY sampled_at LIMIT $2 \
             FOR UPDATE SKIP LOCKED \
         ) AS old WHERE hosts.id > $3 AND hosts.id <= $4 LIMIT $2)",
    "DELETE FROM page_hours WHERE (host_id, hour, page) IN ( \
         SELECT host_id, old.hour, old.page FROM hosts CROSS JOIN LATERAL ( \
             SELECT host_id, hour, page FROM page_hours \
             WHERE host_id = hosts.id AND hour < now() - $1 * interval '1 second' \
             ORDER BY hour, page LIMIT $2 \
             FOR UPDATE SKIP LOCKED \
         ) AS old WHERE hosts.id > $3 AND hosts.id <= $4 LIMIT $2)",
];

#[derive(QueryableByName)]
struct NextHosts {
    #[diesel(sql_type = Nullable<BigInt>)]
    last_id: Option<i64>,
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
                .expect("invariant: pages are stored in the format of a sample"),
        }
    }
}

#[derive(QueryableByName)]
struct BaselineRow {
    #[diesel(sql_type = Text)]
    path: String,
    #[diesel(sql_type = Double)]
    average: f64,
}

#[derive(QueryableByName)]
struct HourRow {
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

impl From<HourRow> for HourTotals {
    fn from(row: HourRow) -> Self {
        Self {
            hour: from_pg(row.hour),
            samples: u64::try_from(row.samples).unwrap_or(0),
            visitors_sum: to_u64(row.visitors_sum),
            least: to_u64(row.least),
            most: to_u64(row.most),
        }
    }
}

/// The array parameters of [`STORE`].
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
    fn new(snapshots: &'a [TrendSnapshot]) -> Self {
        let mut columns = Self::default();
        for snapshot in snapshots {
            columns.hosts.push(snapshot.host.as_str());
            columns.sampled_ats.push(to_pg(snapshot.sampled_at));
            columns.visitors.push(to_i64(snapshot.visitors));
            columns.exact.push(snapshot.exact);
            columns.pages.push(to_json(&sanitized_pages(snapshot)));
            columns.increases.push(to_json(&sanitized_increases(snapshot)));
        }
        columns
    }
}

/// The handle for samples.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    store: &'a ColdStore,
}

impl ColdStore {
    /// Returns the handle for samples.
    #[must_use]
    pub fn samples(&self) -> Samples<'_> {
        Samples { store: self }
    }
}

impl Samples<'_> {
    /// Stores samples and adds them to the hourly rollups in one transaction. A sample that is
    /// already stored has no effect.
    ///
    /// Complexity: O(p log r) for p pages in the given samples and r hourly rows.
    pub async fn store(
        self,
        snapshots: &[TrendSnapshot],
        timeout: Duration,
    ) -> Result<(), ColdError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let columns = Columns::new(snapshots);
        self.store
            .call_within(timeout, async |connection| {
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

    /// Finds a host's newest sample at or before `at`.
    ///
    /// Complexity: O(log s) for s samples.
    pub async fn find(self, host: &Host, at: Timestamp) -> Result<Option<Sample>, ColdError> {
        let row: Option<SampleRow> = self
            .store
            .read(ReadKind::History, async |connection| {
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

    /// Returns the baseline for a host's pages: for each path, the average number of visitors over
    /// the samples that contain the page and were taken in the same hour of the day (UTC) as `at`
    /// on the preceding 14 days. Covers at most the 10,000 pages with the most visitors.
    ///
    /// Complexity: O(log r + p) for r hourly rows and p pages of the host in these hours.
    pub async fn find_baseline(
        self,
        host: &Host,
        at: Timestamp,
    ) -> Result<HashMap<String, f64>, ColdError> {
        let hours = baseline_hours(at);
        let rows: Vec<BaselineRow> = self
            .store
            .call(async |connection| {
                diesel::sql_query(FIND_BASELINE)
                    .bind::<Text, _>(host.as_str())
                    .bind::<Array<Timestamptz>, _>(&hours)
                    .bind::<Integer, _>(BASELINE_PAGES_MAX)
                    .get_results(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|row| (row.path, row.average)).collect())
    }

    /// Lists the hourly totals of a page for the hours that start at or after `from` and before
    /// `to`, oldest first. Lists at most 9,600 hours (400 days).
    ///
    /// Complexity: O(log r + h) for r hourly rows and h listed hours.
    pub async fn list_hours(
        self,
        host: &Host,
        path: &PagePath,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourTotals>, ColdError> {
        self.store
            .read(ReadKind::History, async |connection| {
                diesel::sql_query(LIST_HOURS)
                    .bind::<Text, _>(host.as_str())
                    .bind::<Text, _>(path.as_str())
                    .bind::<Timestamptz, _>(to_pg(from))
                    .bind::<Timestamptz, _>(to_pg(to))
                    .bind::<Integer, _>(HOURS_MAX)
                    .get_results::<HourRow>(connection)
                    .await
            })
            .await
            .map(|rows| rows.into_iter().map(HourTotals::from).collect())
    }

    /// Deletes samples older than `samples` and the totals of hours that started more than `hours`
    /// ago, and returns the number of deleted rows. The Postgres clock determines the age of a row.
    /// Each statement deletes at most `limit` rows for at most 1,000 hosts. If a deletion fails,
    /// continues with the other rows, and returns the first error. Concurrent calls are safe.
    ///
    /// Complexity: O(h log r + d) for h hosts, r rows and d deleted rows, in bounded statements.
    pub async fn delete_old(
        self,
        samples: Duration,
        hours: Duration,
        limit: u32,
    ) -> Result<u64, ColdError> {
        let (mut deleted, mut after) = (Ok(0), 0);
        loop {
            let up_to = match self.find_next_hosts(after).await {
                Ok(Some(up_to)) => up_to,
                Ok(None) => return deleted,
                // Ends the loop if Postgres is unavailable.
                Err(error) => return deleted.and(Err(error)),
            };
            for (delete, retention) in DELETE.into_iter().zip([samples, hours]) {
                let rows = self.delete_chunks(delete, retention, limit, after, up_to).await;
                deleted = deleted.and_then(|sum| rows.map(|rows| sum + rows));
            }
            after = up_to;
        }
    }

    /// Returns the last ID in the next range of up to 1,000 hosts, or `None` if no hosts follow.
    /// The range starts after the ID `after`.
    ///
    /// Complexity: O(log h) for h hosts, plus a scan of at most 1,000 hosts.
    async fn find_next_hosts(self, after: i64) -> Result<Option<i64>, ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(NEXT_HOSTS)
                    .bind::<BigInt, _>(after)
                    .bind::<BigInt, _>(DELETE_HOSTS)
                    .get_result::<NextHosts>(connection)
                    .await
            })
            .await
            .map(|row| row.last_id)
    }

    /// Deletes, chunk by chunk, the old rows for hosts with IDs greater than `after` and up to
    /// `up_to`. Returns the number of deleted rows.
    ///
    /// Complexity: O(h log r + d) for h hosts, r rows and d deleted rows, in bounded statements.
    async fn delete_chunks(
        self,
        delete: &str,
        retention: Duration,
        limit: u32,
        after: i64,
        up_to: i64,
    ) -> Result<u64, ColdError> {
        let mut deleted = 0;
        loop {
            let chunk = self
                .store
                .call_within(DELETE_TIMEOUT, async |connection| {
                    diesel::sql_query(delete)
                        .bind::<Double, _>(retention.as_secs_f64())
                        .bind::<Integer, _>(i32::try_from(limit).unwrap_or(i32::MAX))
                        .bind::<BigInt, _>(after)
                        .bind::<BigInt, _>(up_to)
                        .execute(connection)
                        .await
                })
                .await?;
            deleted += chunk as u64;
            if chunk < limit as usize {
                return Ok(deleted);
            }
        }
    }
}

/// Returns the start of the same hour on each of the preceding [`BASELINE_DAYS`] days.
fn baseline_hours(at: Timestamp) -> Vec<PgTimestamp> {
    let hour = at.as_millis() - at.as_millis().rem_euclid(HOUR_MILLIS);
    (1..=BASELINE_DAYS)
        .map(|days| to_pg(Timestamp::from_millis(hour - days * 24 * HOUR_MILLIS)))
        .collect()
}

/// Returns the pages in a form that Postgres accepts: without U+0000, which Postgres does not
/// support, and with limited numbers of visitors. Otherwise, invalid data for one host would
/// prevent the samples of the other hosts from being stored.
fn sanitized_pages(snapshot: &TrendSnapshot) -> Vec<PageVisitors> {
    let mut pages = snapshot.to_sample().pages;
    for page in &mut pages {
        replace_nul(&mut page.path);
        page.title.as_mut().map(replace_nul);
        page.visitors = page.visitors.min(VISITORS_MAX);
    }
    pages
}

fn sanitized_increases(snapshot: &TrendSnapshot) -> Vec<Increase> {
    let mut increases = snapshot.to_increases();
    for increase in &mut increases {
        replace_nul(&mut increase.path);
        increase.title.as_mut().map(replace_nul);
    }
    increases
}

fn replace_nul(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("invariant: strings and numbers always serialize")
}

fn to_i64(visitors: u64) -> i64 {
    i64::try_from(visitors.min(VISITORS_MAX)).unwrap_or(i64::MAX)
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
