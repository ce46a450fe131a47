//! Requests to the upstream source of visitors, which are shared by all processes: callers request
//! a call here, the elected publisher makes it ([`source_calls`](super::source_calls)), and all
//! callers read its outcome here.

use std::time::Duration;

use deadpool_redis::redis;
use mayfly_core::{Host, KeyHash, Timestamp, TrendSnapshot, limits};

use crate::connection::{HotError, HotStore, millis, script};

script!(REQUEST, include_str!("request_source_call.lua"));

/// The maximum number of candidate keys of a host.
const CANDIDATES_MAX: usize = 100;
/// The time to live of candidate keys.
const CANDIDATE_TTL: Duration = Duration::from_secs(60);
/// How long an outcome satisfies new requests. Less than the freshness that callers require, as
/// they read the state a moment before they make a request.
const OUTCOME_FRESHNESS: Duration = Duration::from_secs(2);
/// The time to live of the state of a host.
pub(super) const STATE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of the source for a host and a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceState {
    /// The newest trend snapshot, if there is one.
    pub trends: Option<TrendSnapshot>,
    /// The failure of the last call, if it is newer than the snapshot.
    pub failure: Option<SourceFailure>,
    /// Whether the source recently refused the key for the host.
    pub is_refused: bool,
    /// Whether the source is known to have accepted the key for the host.
    pub is_accepted: bool,
    /// The current time by the clock of Redis.
    pub now: Option<Timestamp>,
}

/// A failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFailure {
    /// The time of the failure.
    pub at: Timestamp,
    /// Whether the source refused the call (4xx). Otherwise it failed: 5xx, an invalid response, a
    /// timeout or an exhausted quota.
    pub is_refusal: bool,
}

/// Operations on the source of visitors.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub(super) store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the source of visitors.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        Source { store: self }
    }
}

impl Source<'_> {
    /// Requests a call of the source for a host, and makes `key` (as the caller sent it; never
    /// logged) a candidate unless the source has accepted it before. Returns false if too many
    /// hosts or candidates are waiting. O(log n) for n hosts.
    ///
    /// A caller reads the state before and after a request: if an outcome arrived in between, no
    /// further call is requested.
    pub async fn request_call(self, host: &Host, key: &str) -> Result<bool, HotError> {
        let keys = &self.store.keys;
        let digest = KeyHash::from_key(key);
        let mut call = REQUEST.prepare_invoke();
        call.key(keys.source(host)).key(keys.candidate_keys(host)).key(keys.source_keys(host));
        call.key(keys.refused_key(digest.as_str(), host)).key(keys.requested_hosts());
        call.arg(host.as_str()).arg(digest.as_str()).arg(key);
        call.arg(limits::WATCHED_HOSTS_MAX).arg(CANDIDATES_MAX);
        call.arg(millis(CANDIDATE_TTL)).arg(millis(OUTCOME_FRESHNESS)).arg(millis(STATE_TTL));
        let is_requested: u8 =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(is_requested == 1)
    }

    /// Returns the state of a host and a key in one round trip.
    pub async fn find_state(self, host: &Host, key: &KeyHash) -> Result<SourceState, HotError> {
        /// Time, snapshot, time and kind of the failure, whether refused, when accepted.
        type Reply =
            ((i64, i64), Option<Vec<u8>>, (Option<i64>, Option<String>), bool, Option<f64>);
        let keys = &self.store.keys;
        let (now, trends, failure, is_refused, accepted_at): Reply = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .cmd("TIME")
                    .get(keys.rising(host))
                    .hmget(keys.source(host), &["failed_at", "failure"])
                    .exists(keys.refused_key(key.as_str(), host))
                    .zscore(keys.source_keys(host), key.as_str())
                    .query_async(connection)
                    .await
            })
            .await?;
        let trends: Option<TrendSnapshot> =
            trends.and_then(|json| serde_json::from_slice(&json).ok());
        let (failed_at, kind) = failure;
        let failure = failed_at.map(|at| SourceFailure {
            at: Timestamp::from_millis(at),
            is_refusal: kind.as_deref() == Some("refused"),
        });
        let failure =
            failure.filter(|failure| trends.as_ref().is_none_or(|one| one.sampled_at < failure.at));
        Ok(SourceState {
            trends,
            failure,
            is_refused,
            is_accepted: accepted_at.is_some(),
            now: Some(Timestamp::from_millis(now.0 * 1_000 + now.1 / 1_000)),
        })
    }
}
