//! The history of hosts in Postgres, queried with a short timeout, so that a slow query barely
//! delays sampling.

use std::{collections::HashMap, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{Host, Sample, Timestamp};
use mayfly_runtime::OutageLog;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::debug;

/// The maximum time that a caller waits for a query, much shorter than the lifetime of the lease.
const HISTORY_TIMEOUT: Duration = Duration::from_millis(200);
/// The time after a timeout during which queries are not awaited, and the minimum interval between
/// retries of a failed query.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The maximum number of hosts with a cached baseline.
const HOSTS_MAX: usize = 10_000;
/// The maximum total size of the cached baselines, in bytes: enough for about 650,000 pages with
/// paths of typical length.
const BASELINES_BYTES_MAX: usize = 100 * 1024 * 1024;
/// The size of a page in a baseline, in bytes, excluding its path. Includes the entry in a map that
/// may be half empty, and the overhead of an allocation.
const PAGE_BYTES: usize = 96;

const HOUR_MS: i64 = 3_600_000;

/// The usual number of visitors to each page, by path.
pub type Baseline = HashMap<String, f64>;

/// The history of all hosts, with a cache of the baselines for the current hour.
pub struct History {
    cold: ColdStore,
    hosts: HashMap<Host, HostBaseline>,
    /// The time before which queries are not awaited.
    await_from: Instant,
    outages: OutageLog,
}

/// The baseline of one host.
struct HostBaseline {
    /// The hour of the baseline, counted from the Unix epoch.
    hour: i64,
    queried_at: Instant,
    /// The query in progress.
    query: Option<JoinHandle<Result<Baseline, ColdError>>>,
    /// The baseline, unless it is unknown or was evicted.
    baseline: Option<Baseline>,
    /// The size of `baseline` in bytes.
    bytes: usize,
    used_at: Instant,
}

impl History {
    /// Creates a history with an empty cache.
    pub fn new(cold: ColdStore) -> Self {
        let outages = OutageLog::new("read the history of hosts");
        Self { cold, hosts: HashMap::new(), await_from: Instant::now(), outages }
    }

    /// Returns the latest sample that was taken at or before `at`. Returns `None` if there is no
    /// such sample, if Postgres fails or does not respond in time, and for ten seconds after a
    /// timeout.
    pub async fn find_sample(&mut self, host: &Host, at: Timestamp) -> Option<Sample> {
        if Instant::now() < self.await_from {
            return None;
        }
        let query = self.cold.samples().find(host, at);
        if let Ok(found) = timeout(HISTORY_TIMEOUT, query).await {
            self.outages.record(&found);
            return found.ok().flatten();
        }
        self.await_from = Instant::now() + RETRY_INTERVAL;
        None
    }

    /// Returns the baseline of a host for the hour of `at`, or `None` while it is unknown.
    ///
    /// The baseline is queried once per hour, and again after at least ten seconds if the query
    /// failed or the baseline was evicted.
    pub async fn find_baseline(&mut self, host: &Host, at: Timestamp) -> Option<&Baseline> {
        let hour = at.as_millis().div_euclid(HOUR_MS);
        if !self.hosts.contains_key(host) {
            self.evict_host();
        }
        let now = Instant::now();
        let cold = &self.cold;
        let query = || {
            let (cold, host) = (cold.clone(), host.clone());
            Some(tokio::spawn(async move { cold.samples().find_baseline(&host, at).await }))
        };
        let cached = self.hosts.entry(host.clone()).or_insert_with(|| HostBaseline {
            hour,
            queried_at: now,
            query: query(),
            baseline: None,
            bytes: 0,
            used_at: now,
        });
        cached.used_at = now;
        let is_retry_due =
            cached.baseline.is_none() && cached.queried_at.elapsed() >= RETRY_INTERVAL;
        if cached.hour != hour || (cached.query.is_none() && is_retry_due) {
            cached.set(None);
            (cached.hour, cached.queried_at, cached.query) = (hour, now, query());
        }
        cached.await_query(&mut self.await_from, &self.outages).await;
        evict_baselines(&mut self.hosts, BASELINES_BYTES_MAX);
        self.hosts.get(host)?.baseline.as_ref()
    }

    /// Evicts the least recently used host if the cache is full.
    fn evict_host(&mut self) {
        if self.hosts.len() >= HOSTS_MAX
            && let Some(host) = least_recently_used(self.hosts.iter())
        {
            self.hosts.remove(&host);
        }
    }
}

/// Evicts the baselines of the least recently used hosts while the total size exceeds `bytes_max`.
/// The hosts stay in the cache, so that each baseline is queried at most once per
/// [`RETRY_INTERVAL`].
fn evict_baselines(hosts: &mut HashMap<Host, HostBaseline>, bytes_max: usize) {
    let mut cached: usize = hosts.values().map(|host| host.bytes).sum();
    while cached > bytes_max {
        let with_pages = hosts.iter().filter(|(_, host)| host.bytes > 0);
        let Some(host) = least_recently_used(with_pages) else { return };
        if let Some(host) = hosts.get_mut(&host) {
            cached -= host.bytes;
            host.set(None);
        }
    }
}

fn least_recently_used<'a>(
    hosts: impl Iterator<Item = (&'a Host, &'a HostBaseline)>,
) -> Option<Host> {
    hosts.min_by_key(|(_, baseline)| baseline.used_at).map(|(host, _)| host.clone())
}

impl HostBaseline {
    fn set(&mut self, baseline: Option<Baseline>) {
        self.bytes =
            baseline.iter().flat_map(HashMap::keys).map(|path| path.len() + PAGE_BYTES).sum();
        self.baseline = baseline;
    }

    /// Waits briefly for the query in progress and stores its result.
    async fn await_query(&mut self, await_from: &mut Instant, outages: &OutageLog) {
        let Some(query) = &mut self.query else { return };
        if Instant::now() < *await_from && !query.is_finished() {
            return;
        }
        match timeout(HISTORY_TIMEOUT, query).await {
            Ok(Ok(found)) => {
                outages.record(&found);
                self.set(found.ok());
            }
            Ok(Err(error)) => debug!(%error, "the query for a baseline was canceled"),
            // The next sample checks the query again.
            Err(_) => {
                *await_from = Instant::now() + RETRY_INTERVAL;
                return;
            }
        }
        self.query = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_are_bounded_in_bytes_and_the_least_recently_used_are_evicted() {
        let now = Instant::now();
        let mut hosts = HashMap::new();
        for (age, path) in
            ["/long".repeat(200), "/b".to_owned(), "/c".to_owned()].iter().enumerate()
        {
            let mut host = HostBaseline {
                hour: 0,
                queried_at: now,
                query: None,
                baseline: None,
                bytes: 0,
                used_at: now + Duration::from_secs(age as u64),
            };
            host.set(Some(Baseline::from([(path.clone(), 1.0)])));
            hosts.insert(Host::parse(format!("{age}.org")).expect("a host"), host);
        }
        let cached = |hosts: &HashMap<Host, HostBaseline>| {
            let mut cached: Vec<_> = hosts
                .iter()
                .filter(|(_, host)| host.baseline.is_some())
                .map(|(host, baseline)| (host.to_string(), baseline.bytes))
                .collect();
            cached.sort();
            cached
        };
        let small = 2 + PAGE_BYTES;
        evict_baselines(&mut hosts, 1_000 + 3 * PAGE_BYTES + 4);
        assert_eq!(cached(&hosts).len(), 3);
        evict_baselines(&mut hosts, 1_000);
        assert_eq!(cached(&hosts), [("1.org".to_owned(), small), ("2.org".to_owned(), small)]);
        evict_baselines(&mut hosts, small);
        assert_eq!(cached(&hosts), [("2.org".to_owned(), small)]);
    }
}
