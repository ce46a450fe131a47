//! The clock of Redis, which all processes use for expiry, trimming and scheduling.

use std::{sync::Arc, time::Instant};

use deadpool_redis::redis;
use mayfly_core::{SynchronizedClock, Timestamp};
use tracing::{info, warn};

use crate::{
    connection::{HotError, HotStore},
    metrics as names,
};

/// The difference between the clocks of this machine and of Redis above which a warning is logged.
const DIFFERENCE_MAX_MS: u64 = 2_000;

/// A reading of the clock of Redis, as `TIME` returns it: the seconds since the Unix epoch, and the
/// microseconds within the current second.
pub(crate) type TimeReply = (i64, i64);

impl HotStore {
    /// Returns this process's estimate of the Redis clock. Reading the estimate costs about as much
    /// as reading the system clock. All clones of a store share the estimate.
    #[must_use]
    pub fn clock(&self) -> &Arc<SynchronizedClock> {
        &self.clock
    }

    /// Reads the clock of Redis, and corrects [`Self::clock`]. O(1).
    pub async fn read_clock(&self) -> Result<Timestamp, HotError> {
        let (sent, reply, received): (_, TimeReply, _) = self
            .call(async |connection| {
                let sent = Instant::now();
                let reply = redis::cmd("TIME").query_async(connection).await?;
                Ok((sent, reply, Instant::now()))
            })
            .await?;
        self.clock.observe(sent, received, to_micros(reply));
        Ok(Timestamp::from_millis(to_micros(reply).div_euclid(1_000)))
    }

    /// Reads the clock of Redis unless it has been read before. Call this before storing a time
    /// from [`Self::clock`], because the clock of this machine may be wrong.
    pub async fn synchronize_clock(&self) -> Result<(), HotError> {
        if self.clock.is_synchronized() {
            return Ok(());
        }
        // Boxed, because callers that accept messages contain this future and rarely need it.
        Box::pin(self.read_clock()).await.map(drop)
    }
}

/// Converts a reply to microseconds since the Unix epoch.
pub(crate) fn to_micros((seconds, micros): TimeReply) -> i64 {
    seconds.saturating_mul(1_000_000).saturating_add(micros)
}

/// A monitor of the difference between the clocks of this machine and of Redis.
#[derive(Debug, Default)]
pub(super) struct ClockMonitor {
    is_different: bool,
}

impl ClockMonitor {
    /// Reads the clock of Redis and exports the difference as a metric. Logs a line when the
    /// difference becomes too large and another line when it is small again.
    pub(super) async fn check(&mut self, store: &HotStore) -> Result<(), HotError> {
        store.read_clock().await?;
        self.record(store.clock.difference_ms());
        Ok(())
    }

    fn record(&mut self, difference_ms: i64) {
        metrics::gauge!(names::CLOCK_DIFFERENCE_SECONDS).set(to_seconds(difference_ms));
        let is_different = difference_ms.unsigned_abs() > DIFFERENCE_MAX_MS;
        let was_different = std::mem::replace(&mut self.is_different, is_different);
        if is_different && !was_different {
            warn!(
                component = "clock",
                difference_ms,
                "the clock of this machine differs from that of Redis by more than 2 s: Mayfly \
                 uses the clock of Redis, but log lines contain the time of this machine; \
                 synchronize both clocks"
            );
        } else if was_different && !is_different {
            info!(component = "clock", difference_ms, "the clock agrees with that of Redis again");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
fn to_seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use tracing::subscriber;

    use super::*;
    use crate::connection::{test_log::LogLines, test_metrics::TestRecorder};

    #[test]
    fn difference_is_exported_and_logged_when_it_begins_and_ends() {
        let (recorder, lines) = (TestRecorder::default(), LogLines::default());
        let mut monitor = ClockMonitor::default();
        let mut record = |difference_ms| {
            with_local_recorder(&recorder, || monitor.record(difference_ms));
            (recorder.gauge(names::CLOCK_DIFFERENCE_SECONDS), lines.count())
        };
        subscriber::with_default(lines.clone(), || {
            assert_eq!(record(2_000), (Some(2.0), 0));
            assert_eq!(record(-2_001), (Some(-2.001), 1));
            assert_eq!(record(660_000), (Some(660.0), 1));
            assert_eq!(record(0), (Some(0.0), 2));
        });
    }
}
