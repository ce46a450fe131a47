//! Requests for calls to the visitor source, the upstream service that counts visitors. A caller
//! requests a call here, the elected publisher makes the call
//! ([`source_calls`](super::source_calls)), and all callers read the outcome here.

use std::time::Duration;

use deadpool_redis::redis::{self, RedisError};
use mayfly_core::{Host, KeyHash, Timestamp, TrendSnapshot, limits};

use super::TREND_BYTES_MAX;
use crate::connection::{HotError, HotStore, millis, script};

script!(REQUEST, include_str!("request_source_call.lua"));

/// The maximum number of candidate keys for a host.
const CANDIDATES_MAX: usize = 100;
/// The time to live of candidate keys.
const CANDIDATE_TTL: Duration = Duration::from_secs(60);
/// How long an outcome satisfies new requests. This time is shorter than the maximum age that
/// callers accept ([`limits::SOURCE_CALL_INTERVAL`]), because a caller may request the next call
/// shortly before an outcome reaches the maximum age.
const OUTCOME_FRESHNESS: Duration = Duration::from_secs(2);
/// The time to live of a host's state.
pub(super) const STATE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of the source for a host and a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceState {
    /// The newest trend snapshot, if there is one.
    pub trends: Option<TrendSnapshot>,
    /// The failure of the last call, if the failure is newer than the snapshot.
    pub failure: Option<SourceFailure>,
    /// Whether the source recently refused the key for the host.
    pub is_refused: bool,
    /// Whether the source is known to have accepted the key for the host.
    pub is_accepted: bool,
    /// The current time according to the Redis clock. [`Source::find_state`] always sets this
    /// field.
    pub now: Option<Timestamp>,
}

/// A failed call, or a requested call that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFailure {
    /// The time of the failure.
    pub at: Timestamp,
    /// Whether the source refused the call (a 4xx status other than 429), or no usable key
    /// remained. Other failures are any other error status, an invalid response, a connection
    /// error, a timeout, a pause that the source requested and an exhausted quota.
    pub is_refusal: bool,
}

/// Operations on the visitor source.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub(super) store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the visitor source.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        Source { store: self }
    }
}

impl Source<'_> {
    /// Requests a call to the source for a host. Makes `key`, the key as the caller sent it, a
    /// candidate unless the source is known to accept or refuse this key. The key is never logged.
    /// Returns false if too many hosts or candidates are waiting. O(log n) for n requested hosts.
    ///
    /// The caller must read the state before and after a request, because no call is requested if
    /// the source is known to accept or refuse the key and the latest outcome is less than 2 s old.
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

    /// Reads the state for a host and a key in one round trip.
    pub async fn find_state(self, host: &Host, key: &KeyHash) -> Result<SourceState, HotError> {
        type Reply<T> = Result<T, RedisError>;
        /// The current time, the snapshot, the time and kind of the failure, whether the source
        /// recently refused the key, and the time when the source last accepted the key.
        type Replies = (
            Reply<(i64, i64)>,
            Reply<Vec<u8>>,
            Reply<(Option<i64>, Option<String>)>,
            Reply<bool>,
            Reply<Option<f64>>,
        );
        let keys = &self.store.keys;
        let rising = keys.rising(host);
        let (now, trends, failure, is_refused, accepted_at): Replies = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .ignore_errors()
                    .cmd("TIME")
                    .cmd("GETRANGE")
                    .arg(&rising)
                    .arg(0)
                    .arg(TREND_BYTES_MAX)
                    .hmget(keys.source(host), &["failed_at", "failure"])
                    .exists(keys.refused_key(key.as_str(), host))
                    .zscore(keys.source_keys(host), key.as_str())
                    .query_async(connection)
                    .await
            })
            .await?;
        // A key of the wrong type is treated as missing. The next publication overwrites the key.
        let trends = self.store.skip_unreadable(&rising, trends)?.unwrap_or_default();
        let trends: Option<TrendSnapshot> = serde_json::from_slice(&trends).ok();
        let (now, (failed_at, kind)) = (now?, failure?);
        let failure = failed_at.map(|at| SourceFailure {
            at: Timestamp::from_millis(at),
            is_refusal: kind.as_deref() == Some("refused"),
        });
        let failure =
            failure.filter(|failure| trends.as_ref().is_none_or(|one| one.sampled_at < failure.at));
        Ok(SourceState {
            trends,
            failure,
            is_refused: is_refused?,
            is_accepted: accepted_at?.is_some(),
            now: Some(Timestamp::from_millis(now.0 * 1_000 + now.1 / 1_000)),
        })
    }
}
