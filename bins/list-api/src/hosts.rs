//! Queries for the visitors to hosts and pages. Lists of pages are cached for one second.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_cold::ColdStore;
use mayfly_core::{
    Clock, History, Host, PagePath, Timestamp, TrendRanking, TrendSnapshot, Window, limits,
};
use mayfly_hot::HotStore;
use mayfly_http::Problem;
use mayfly_runtime::{
    Settings,
    settings::{self, RisingSource},
};
use tokio::time::Instant;

use crate::{
    cache::{CacheEntry, FetchError, SingleFlightCache},
    json::to_json,
    problems::host_not_found,
};

/// How long a list of pages is cached.
const RESPONSE_TTL: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Queries for hosts. Each HTTP thread has its own instance.
pub struct HostQueries {
    stores: Stores,
    caches: Arc<HostCaches>,
}

/// The caches for lists of pages as JSON, shared by all threads. A list is `None` for an unknown
/// host.
pub struct HostCaches {
    pages: SingleFlightCache<Host, Option<Bytes>>,
    rising: SingleFlightCache<(Host, Window), Option<Bytes>>,
}

#[derive(Clone)]
struct Stores {
    hot: HotStore,
    cold: ColdStore,
    source: RisingSource,
    visits: settings::VisitsSettings,
}

impl HostCaches {
    /// Creates empty caches.
    pub fn new() -> Self {
        Self { pages: SingleFlightCache::new(), rising: SingleFlightCache::new() }
    }
}

impl HostQueries {
    /// Creates the queries.
    pub fn new(
        hot: HotStore,
        cold: ColdStore,
        settings: &Settings,
        caches: Arc<HostCaches>,
    ) -> Self {
        let (source, visits) = (settings.rising.source, settings.visits.clone());
        Self { stores: Stores { hot, cold, source, visits }, caches }
    }

    /// Lists the top pages of a host as JSON, with the number of visitors to each page.
    pub async fn list_pages(&self, host: &Host) -> Result<Bytes, Problem> {
        let fetch = || cache_response(self.stores.clone().list_pages(host.clone()));
        self.caches.pages.get(host, fetch).await?.ok_or_else(host_not_found)
    }

    /// Lists the pages of a host as JSON, compared with an earlier sample and ranked by score.
    pub async fn list_rising(&self, host: Host, window: Window) -> Result<Bytes, Problem> {
        let key = (host, window);
        let fetch = || cache_response(self.stores.clone().list_rising(key.0.clone(), window));
        self.caches.rising.get(&key, fetch).await?.ok_or_else(host_not_found)
    }

    /// Returns the current time according to the Redis clock.
    pub fn now(&self) -> Timestamp {
        self.stores.hot.clock().now()
    }

    /// Returns the history of a page for the hours that begin at `from` or later and before `to`.
    pub async fn list_history(
        &self,
        host: &Host,
        path: PagePath,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<History, Problem> {
        // The first hour is compared with the preceding hour if the preceding hour is within the
        // retention period.
        let since = from.minus(HOUR).max(to.minus(limits::HOURLY_RETENTION));
        let totals = self.stores.cold.samples().list_hours(host, &path, since, to).await?;
        Ok(History::new(path, &totals, from))
    }
}

/// Returns the cache entry for a response. The lifetime of the entry begins when the fetch starts.
async fn cache_response(
    fetch: impl Future<Output = Result<Option<Bytes>, FetchError>>,
) -> CacheEntry<Option<Bytes>> {
    let started = Instant::now();
    match fetch.await {
        Ok(response) => CacheEntry::new(response, started + RESPONSE_TTL),
        Err(error) => CacheEntry::failed(error),
    }
}

impl Stores {
    async fn list_pages(self, host: Host) -> Result<Option<Bytes>, FetchError> {
        let sample = match self.source {
            RisingSource::Visits => {
                Some(self.hot.visits().count_visitors(&host, &self.visits).await?)
            }
            RisingSource::Chartbeat => {
                self.watch(&host).await?;
                self.hot.trends().find(&host).await?.map(|trends| trends.to_sample())
            }
        };
        Ok(sample.map(|sample| to_json(&sample)))
    }

    async fn list_rising(self, host: Host, window: Window) -> Result<Option<Bytes>, FetchError> {
        self.watch(&host).await?;
        let rising = match self.hot.trends().find(&host).await? {
            Some(trends) => Some(self.compare(trends, window).await?.to_ranking(window)),
            // The host has no visitors, or has not been sampled yet.
            None if self.source == RisingSource::Visits => {
                Some(empty_ranking(host, self.hot.clock().now(), window))
            }
            None => None,
        };
        Ok(rising.map(|rising| to_json(&rising)))
    }

    /// Requests samples of a host. Does nothing with the source `visits`, because every host with
    /// visitors is then sampled anyway.
    async fn watch(&self, host: &Host) -> Result<(), FetchError> {
        if self.source == RisingSource::Chartbeat {
            self.hot.trends().watch_hosts(std::slice::from_ref(host)).await?;
        }
        Ok(())
    }

    /// Compares a snapshot with the newest sample that is at least one window and at most two
    /// windows older than the snapshot.
    async fn compare(
        &self,
        mut trends: TrendSnapshot,
        window: Window,
    ) -> Result<TrendSnapshot, FetchError> {
        // The snapshot already contains the comparison for the five-second window.
        if window != Window::FiveSeconds {
            let length = window.duration();
            let before = trends.sampled_at.minus(length);
            let earlier = self.cold.samples().find(&trends.host, before).await?;
            let is_recent = |at: Timestamp| trends.sampled_at.since(at) <= length * 2;
            let earlier = earlier.filter(|earlier| is_recent(earlier.sampled_at));
            trends.compare_with(earlier.as_ref());
        }
        Ok(trends)
    }
}

fn empty_ranking(host: Host, sampled_at: Timestamp, window: Window) -> TrendRanking {
    TrendRanking { host, sampled_at, compared_to: None, window, pages: Vec::new() }
}
