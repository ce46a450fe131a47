//! Requests calls to the upstream visitor source.
//!
//! One stats-publisher calls the source for all processes. list-api records in Redis that a call
//! for a host is requested, and polls for the outcome of the call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{Clock, Host, KeyHash, Timestamp, TrendSnapshot, limits};
use mayfly_hot::{HotStore, SourceFailure, SourceState};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    cache::{CacheEntry, CacheValue, FetchError},
    json::increases_to_json,
};

/// The maximum age of a stale answer that is served while the source fails.
const STALE_AGE_MAX: Duration = Duration::from_secs(60);
/// The maximum time to wait for an outcome: long enough for a call in progress, the interval
/// between calls, and the next call.
const WAIT_MAX: Duration = Duration::from_millis(4_500);
/// The minimum interval between two polls.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// How long an outcome that can change at any moment is cached.
const OUTCOME_TTL: Duration = Duration::from_millis(500);

/// The outcome of a request to the source.
#[derive(Debug, Clone)]
pub enum UpstreamAnswer<T> {
    /// The source answered.
    Fresh(T),
    /// The source failed or did not answer in time; this is its last answer.
    Stale {
        /// The last answer.
        value: T,
        /// The age of the answer at `observed_at`.
        age: Duration,
        /// The time when the age was observed.
        observed_at: Instant,
    },
    /// The source rejected the request.
    Rejected,
    /// The source failed or did not answer in time, and there is no recent answer.
    Failed,
}

impl CacheValue for UpstreamAnswer<Bytes> {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Fresh(value) | Self::Stale { value, .. } => value.len(),
            Self::Rejected | Self::Failed => 0,
        }
    }
}

impl CacheValue for UpstreamAnswer<()> {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The API key of a caller and the requested host.
#[derive(Debug, Clone)]
pub struct HostCredential<T> {
    /// The key as the caller sent it. It is never logged.
    pub key: T,
    /// The identity of the credential.
    pub id: HostCredentialId,
}

/// The identity of a [`HostCredential`], without the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostCredentialId {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The host.
    pub host: Host,
}

impl HostCredential<&str> {
    /// Returns an owned copy.
    pub fn to_owned(&self) -> HostCredential<String> {
        HostCredential { key: self.key.to_owned(), id: self.id.clone() }
    }
}

impl HostCredential<String> {
    async fn observe(&self, hot: &HotStore) -> Result<Observation, FetchError> {
        let observed_at = Instant::now();
        let state = hot.source().find_state(&self.id.host, &self.id.hash).await?;
        let now = state.now.unwrap_or_else(|| hot.clock().now());
        Ok(Observation { state, now, observed_at })
    }

    /// Requests a call and polls until `outcome` returns a value or [`WAIT_MAX`] has elapsed. Also
    /// returns the last observation.
    async fn request_call<T>(
        &self,
        hot: &HotStore,
        first: Observation,
        outcome: impl Fn(&Observation) -> Option<T>,
    ) -> Result<(Option<T>, Observation), FetchError> {
        if !hot.source().request_call(&self.id.host, &self.key).await? {
            return Err(FetchError::Overloaded);
        }
        let started = first.observed_at;
        let mut observed = first;
        while started.elapsed() < WAIT_MAX {
            // The interval grows with the elapsed time, so that polling adds only about 5% to the
            // latency of a long call.
            sleep(POLL_INTERVAL_MIN.max(started.elapsed() / 20)).await;
            observed = self.observe(hot).await?;
            if let Some(outcome) = outcome(&observed) {
                return Ok((Some(outcome), observed));
            }
        }
        Ok((None, observed))
    }
}

/// The state of the source at one moment.
struct Observation {
    state: SourceState,
    /// The time of the observation, according to the Redis clock.
    now: Timestamp,
    /// The time according to the local clock, taken before Redis was read.
    observed_at: Instant,
}

impl Observation {
    /// Returns how long a result from the time `at` remains fresh, or `None` if it is stale.
    fn remaining_freshness(&self, at: Timestamp) -> Option<Duration> {
        let interval = limits::SOURCE_CALL_INTERVAL;
        let left = at.plus(interval).since(self.now).min(interval);
        (!left.is_zero()).then_some(left)
    }

    /// Returns the latest snapshot and the time until which it is fresh, or `None` if there is no
    /// fresh snapshot.
    fn fresh_trends(&self) -> Option<(&TrendSnapshot, Instant)> {
        let trends = self.state.trends.as_ref()?;
        let left = self.remaining_freshness(trends.sampled_at)?;
        Some((trends, self.observed_at + left))
    }

    /// Returns the failure of the latest call if the failure is recent.
    fn fresh_failure(&self) -> Option<SourceFailure> {
        self.state.failure.filter(|failure| self.remaining_freshness(failure.at).is_some())
    }

    /// Returns the outcome of the latest call for the host, or `None` if there is neither a fresh
    /// failure nor a fresh snapshot.
    fn outcome(&self) -> Option<CacheEntry<UpstreamAnswer<Bytes>>> {
        if let Some(failure) = self.fresh_failure() {
            return Some(self.failed_outcome(failure.is_refusal));
        }
        let (trends, expires_at) = self.fresh_trends()?;
        let answer = UpstreamAnswer::Fresh(increases_to_json(Some(trends)));
        Some(CacheEntry::new(answer, expires_at))
    }

    /// Returns the answer after the source rejected the request or failed.
    fn failed_outcome(&self, is_rejection: bool) -> CacheEntry<UpstreamAnswer<Bytes>> {
        let answer = if is_rejection { UpstreamAnswer::Rejected } else { self.stale_answer() };
        CacheEntry::without_refresh(answer, Instant::now() + OUTCOME_TTL)
    }

    fn stale_answer(&self) -> UpstreamAnswer<Bytes> {
        let Some(trends) = &self.state.trends else { return UpstreamAnswer::Failed };
        let age = self.now.since(trends.sampled_at);
        if age > STALE_AGE_MAX {
            return UpstreamAnswer::Failed;
        }
        let value = increases_to_json(Some(trends));
        UpstreamAnswer::Stale { value, age, observed_at: self.observed_at }
    }
}

/// Returns the increases of a host for an accepted credential: the outcome of the latest call if
/// that outcome is fresh, or else the outcome of a new call.
pub async fn fetch_increases(
    hot: HotStore,
    credential: HostCredential<String>,
) -> CacheEntry<UpstreamAnswer<Bytes>> {
    let fetch = async {
        let first = credential.observe(&hot).await?;
        if let Some(outcome) = first.outcome() {
            return Ok(outcome);
        }
        let (outcome, last) = credential.request_call(&hot, first, Observation::outcome).await?;
        Ok(outcome.unwrap_or_else(|| last.failed_outcome(false)))
    };
    fetch.await.unwrap_or_else(|error: FetchError| CacheEntry::failed(error))
}

/// Requests a call to replace a snapshot that remains fresh for less than `ahead`, and returns the
/// new answer. If a request by another process has already led to a newer answer, returns that
/// answer.
///
/// Returns `None` if there is no new answer in time. In that case, the first request after the
/// cached answer expires fetches a new answer.
pub async fn refresh_increases(
    hot: HotStore,
    credential: HostCredential<String>,
    ahead: Duration,
) -> Option<CacheEntry<UpstreamAnswer<Bytes>>> {
    let first = credential.observe(&hot).await.ok()?;
    let ends_soon = |until: Instant| until < Instant::now() + ahead;
    // Another process may have requested the call already.
    if first.fresh_trends().is_some_and(|(_, until)| !ends_soon(until)) {
        return first.outcome();
    }
    let latest = |observed: &Observation| {
        let sampled_at = observed.state.trends.as_ref().map(|trends| trends.sampled_at);
        sampled_at.max(observed.state.failure.map(|failure| failure.at))
    };
    let known = latest(&first);
    let newer_outcome =
        |observed: &Observation| if latest(observed) > known { observed.outcome() } else { None };
    credential.request_call(&hot, first, newer_outcome).await.ok()?.0
}

/// Returns whether the source accepts a credential.
///
/// The outcome of a call with another key is conclusive only if the source failed. `permits` limits
/// the number of concurrent checks.
pub async fn check_credential(
    hot: HotStore,
    credential: HostCredential<String>,
    permits: Arc<Semaphore>,
) -> CacheEntry<UpstreamAnswer<()>> {
    let outcome = |observed: &Observation| match &observed.state {
        state if state.is_accepted => Some(UpstreamAnswer::Fresh(())),
        state if state.is_refused => Some(UpstreamAnswer::Rejected),
        _ => None,
    };
    let check = async {
        let first = credential.observe(&hot).await?;
        let requested_at = first.now;
        let failed = |observed: &Observation| {
            let failure = observed.state.failure?;
            (failure.at >= requested_at && !failure.is_refusal).then_some(UpstreamAnswer::Failed)
        };
        if let Some(known) = outcome(&first) {
            return Ok(known);
        }
        let Ok(_permit) = permits.try_acquire() else { return Err(FetchError::Overloaded) };
        let conclusive = |observed: &Observation| outcome(observed).or_else(|| failed(observed));
        let (outcome, _) = credential.request_call(&hot, first, conclusive).await?;
        Ok(outcome.unwrap_or(UpstreamAnswer::Failed))
    };
    match check.await {
        Ok(answer) => CacheEntry::new(answer, Instant::now() + OUTCOME_TTL),
        Err(error) => CacheEntry::failed(error),
    }
}
