//! Asking the source of visitors, over all processes once: whoever wants to know asks here, one
//! publisher calls ([`crate::source_calls`]), and all look here for what became of that.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::{Host, KeyHash, Sighting, Timestamp, limits};

use crate::{accept::millis, error::HotError, pool::Hot};

static ASK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/ask_source.lua")));

/// Keys that wait to be tried for one host.
const PAIRS_MAX: usize = 100;
/// How long they wait.
const PAIR_WAITS: Duration = Duration::from_secs(60);
/// How long nobody has to ask again after an outcome. Less than it is fresh for those who look, who may
/// look a moment before they ask.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long it is known of a host what became of its last call.
pub(crate) const STATE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a caller that asked for a host may be told now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceState {
    /// The newest sighting, if there is one.
    pub sighting: Option<Sighting>,
    /// What became of the newest call that failed, if it is newer than the sighting.
    pub failure: Option<SourceFailure>,
    /// The source refused this key for this host, a short while ago.
    pub is_refused: bool,
    /// The source accepted this key for this host at least once, as Redis knows.
    pub is_accepted: bool,
    /// Now, by the clock of Redis.
    pub now: Option<Timestamp>,
}

/// A call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFailure {
    /// When.
    pub at: Timestamp,
    /// Whether the source refused (4xx), and did not just fail (5xx, garbage, timeout, quota).
    pub is_refusal: bool,
}

impl Hot {
    /// Asks that a host be sampled soon, and that `key` (as the caller sent it; never logged) be tried for
    /// it where the source has not accepted it before. Gives false where too many hosts or keys wait
    /// already.
    ///
    /// Whoever calls this has looked before, and looks afterwards: where an outcome came in between, no
    /// other call is asked for.
    pub async fn ask_source(&self, host: &Host, key: &str) -> Result<bool, HotError> {
        let keys = &self.keys;
        let digest = KeyHash::of(key);
        let mut call = ASK.prepare_invoke();
        call.key(keys.source(host)).key(keys.asked_pairs(host)).key(keys.source_keys(host));
        call.key(keys.refused_pair(digest.as_str(), host)).key(keys.asked_hosts());
        call.arg(host.as_str())
            .arg(digest.as_str())
            .arg(key)
            .arg(limits::WATCHED_HOSTS_MAX)
            .arg(PAIRS_MAX);
        call.arg(millis(PAIR_WAITS)).arg(millis(FRESH_FOR)).arg(millis(STATE_KEPT));
        let asked: u8 = self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(asked == 1)
    }

    /// What is known now; one round trip.
    pub async fn find_source_state(
        &self,
        host: &Host,
        key: &KeyHash,
    ) -> Result<SourceState, HotError> {
        /// The time, the sighting, when a call failed and how, whether the key is refused, accepted.
        type Found =
            ((i64, i64), Option<Vec<u8>>, (Option<i64>, Option<String>), bool, Option<f64>);
        let keys = &self.keys;
        let (now, sighting, failure, is_refused, accepted): Found = self
            .call(async |connection| {
                redis::pipe()
                    .cmd("TIME")
                    .get(keys.rising(host))
                    .hmget(keys.source(host), &["failed_at", "failure"])
                    .exists(keys.refused_pair(key.as_str(), host))
                    .zscore(keys.source_keys(host), key.as_str())
                    .query_async(connection)
                    .await
            })
            .await?;
        let sighting: Option<Sighting> =
            sighting.and_then(|json| serde_json::from_slice(&json).ok());
        let (failed_at, what) = failure;
        let failure = failed_at.map(|at| SourceFailure {
            at: Timestamp::from_millis(at),
            is_refusal: what.as_deref() == Some("refused"),
        });
        let failure = failure
            .filter(|failure| sighting.as_ref().is_none_or(|one| one.sampled_at < failure.at));
        Ok(SourceState {
            sighting,
            failure,
            is_refused,
            is_accepted: accepted.is_some(),
            now: Some(Timestamp::from_millis(now.0 * 1_000 + now.1 / 1_000)),
        })
    }
}
