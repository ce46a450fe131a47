//! The statistics as they are announced: kept for who comes late, and told to who listens.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::Script;
use mayfly_core::Timestamp;
use mayfly_runtime::metrics as names;

use crate::{error::HotError, lease::Lease, pool::Hot};

static PUBLISH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/publish_stats.lua")));

/// A snapshot that is further ahead of the publisher's clock than this was written by a clock that
/// was wrong, and holds up nobody.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsPublished {
    /// It is announced.
    Done,
    /// One as new, or newer, was announced before.
    Late,
    /// The lease is another's by now.
    NotLeading,
}

impl Hot {
    /// Announces a snapshot, JSON, if the lease is still held and no newer one was announced.
    pub async fn publish_stats(
        &self,
        lease: &Lease,
        snapshot: &[u8],
        generated_at: Timestamp,
    ) -> Result<StatsPublished, HotError> {
        let Some(value) = lease.value() else { return Ok(StatsPublished::NotLeading) };
        let mut call = PUBLISH.prepare_invoke();
        call.key(self.keys.lease(lease.job())).key(self.keys.stats());
        call.arg(value).arg(snapshot).arg(generated_at.to_string());
        call.arg(generated_at.plus(AHEAD_MAX).to_string()).arg(self.keys.feed_stats());
        let answer: Vec<u8> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(match answer[..] {
            [2, failed] => {
                metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(u64::from(failed));
                StatsPublished::Done
            }
            [1] => StatsPublished::Late,
            _ => StatsPublished::NotLeading,
        })
    }

    /// Whether a state of this time is to be believed, and not of a clock that was wrong.
    #[must_use]
    pub fn is_state_time_believed(generated_at: Timestamp, now: Timestamp) -> bool {
        generated_at <= now.plus(AHEAD_MAX)
    }
}
