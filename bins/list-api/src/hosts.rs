//! Pages of hosts and their visitors, as the handlers need them: counted or seen at most a second ago,
//! once for all who ask.

use std::time::Duration;

use bytes::Bytes;
use mayfly_cold::Cold;
use mayfly_core::{
    Clock, History, Host, HourSum, PagePath, Rising, Sighting, SystemClock, Timestamp, Window,
    limits,
};
use mayfly_hot::Hot;
use mayfly_http::Problem;
use mayfly_runtime::{
    Settings,
    settings::{self, RisingSource},
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    kept::{Failure, Found, Kept},
    problems::{no_host, of_cold},
};

/// How long an answer is given again.
const KEPT_FOR: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// What the handlers of one thread need.
pub struct Hosts {
    stores: Stores,
    kept: std::sync::Arc<KeptAnswers>,
}

/// The answers of all threads, JSON; none where nothing is known of the host.
pub struct KeptAnswers {
    pages: Kept<Host, Option<Bytes>>,
    rising: Kept<(Host, Window), Option<Bytes>>,
}

#[derive(Clone)]
struct Stores {
    hot: Hot,
    cold: Cold,
    source: RisingSource,
    visits: settings::Visits,
}

impl KeptAnswers {
    /// Nothing is kept yet.
    pub fn new() -> Self {
        Self { pages: Kept::new(), rising: Kept::new() }
    }
}

impl Hosts {
    /// Between the two stores.
    pub fn new(
        hot: Hot,
        cold: Cold,
        settings: &Settings,
        kept: std::sync::Arc<KeptAnswers>,
    ) -> Self {
        let (source, visits) = (settings.rising.source, settings.visits.clone());
        Self { stores: Stores { hot, cold, source, visits }, kept }
    }

    /// The visitors of a host's top pages, JSON.
    pub async fn list_pages(&self, host: &Host) -> Result<Bytes, Problem> {
        let ask = || keep(self.stores.clone().list_pages(host.clone()));
        self.kept.pages.get(host, ask).await?.ok_or_else(no_host)
    }

    /// What rises on a host against an earlier sample, JSON.
    pub async fn list_rising(&self, host: Host, window: Window) -> Result<Bytes, Problem> {
        let key = (host, window);
        let ask = || keep(self.stores.clone().list_rising(key.0.clone(), window));
        self.kept.rising.get(&key, ask).await?.ok_or_else(no_host)
    }

    /// The hours of a page that begin at `from` or later, and before `to`.
    pub async fn list_history(
        &self,
        host: &Host,
        path: PagePath,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<History, Problem> {
        // One hour more says what the first one changed from, as far as so many can be asked for.
        let since = from.before(HOUR).max(to.before(limits::HOURS_KEPT_FOR));
        let rows = self.stores.cold.list_hours(host, &path, since, to).await;
        let rows = rows.map_err(|error| of_cold(&error))?;
        let sums: Vec<_> = rows
            .into_iter()
            .map(|row| HourSum {
                hour: row.hour,
                samples: row.samples.into(),
                visitors_sum: row.visitors_sum,
                least: row.least,
                most: row.most,
            })
            .collect();
        Ok(History::new(path, &sums, from))
    }
}

/// Keeps an answer for as long as it is good, counted from the question.
async fn keep(
    asking: impl Future<Output = Result<Option<Bytes>, Failure>>,
) -> Found<Option<Bytes>> {
    let began = Instant::now();
    match asking.await {
        Ok(answer) => Found::until(answer, began + KEPT_FOR),
        Err(failure) => Found::failed(failure),
    }
}

impl Stores {
    async fn list_pages(self, host: Host) -> Result<Option<Bytes>, Failure> {
        let sample = match self.source {
            RisingSource::Visits => Some(self.hot.count_visitors(&host, &self.visits).await?),
            RisingSource::Chartbeat => {
                self.watch(&host).await?;
                self.hot.find_sighting(&host).await?.map(|sighting| sighting.to_sample())
            }
        };
        Ok(sample.map(|sample| to_json(&sample)))
    }

    async fn list_rising(self, host: Host, window: Window) -> Result<Option<Bytes>, Failure> {
        self.watch(&host).await?;
        let rising = match self.hot.find_sighting(&host).await? {
            Some(sighting) => Some(self.compare(sighting, window).await?.to_rising(window)),
            // Nobody visits it, or nobody did while its pages were sampled.
            None if self.source == RisingSource::Visits => Some(nobody(host, window)),
            None => None,
        };
        Ok(rising.map(|rising| to_json(&rising)))
    }

    /// Has a host sampled that is asked for; our own counts are made anyway.
    async fn watch(&self, host: &Host) -> Result<(), Failure> {
        if self.source == RisingSource::Chartbeat {
            self.hot.watch_hosts(std::slice::from_ref(host)).await?;
        }
        Ok(())
    }

    /// Compares a sighting with the newest sample that is at least as old as the window says, and not
    /// more than twice as old: from further back it would say little of the window.
    async fn compare(&self, mut sighting: Sighting, window: Window) -> Result<Sighting, Failure> {
        // What was there at the sample before is in it already.
        if window != Window::FiveSeconds {
            let length = window.duration();
            let before = sighting.sampled_at.before(length);
            let earlier = self.cold.find_sample(&sighting.host, before).await?;
            let is_near = |at: Timestamp| sighting.sampled_at.since(at) <= length * 2;
            let earlier = earlier.filter(|earlier| is_near(earlier.sampled_at));
            sighting.compare(earlier.as_ref());
        }
        Ok(sighting)
    }
}

fn nobody(host: Host, window: Window) -> Rising {
    let sampled_at = SystemClock.now();
    Rising { host, sampled_at, compared_to: None, window, pages: Vec::new() }
}

/// # Panics
/// Never: what is given out is texts and finite numbers.
pub fn to_json(answer: &impl Serialize) -> Bytes {
    serde_json::to_vec(answer).expect("invariant: texts and numbers are JSON").into()
}
