//! Periodic, idempotent maintenance that every worker runs.

mod dedup_pruner;
mod ledger_monitor;
pub mod sample_retention;

use std::{sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_core::{Clock, SystemClock};
use mayfly_hot::{HotError, HotStore, Stream};
use mayfly_runtime::{Settings, run_periodically};

use self::{dedup_pruner::DedupPruner, ledger_monitor::LedgerMonitor};
use crate::metrics as names;

const INTERVAL: Duration = Duration::from_secs(1);
/// The number of rounds between two runs of the expensive steps.
const ROUNDS_PER_FULL_ROUND: u64 = 10;

/// Trims the streams, removes dead consumers, checks the ledger and measures the queues.
pub struct StreamMaintenance {
    hot: HotStore,
    cold: ColdStore,
    settings: Arc<Settings>,
    ledger_monitor: LedgerMonitor,
    dedup_pruner: DedupPruner,
}

impl StreamMaintenance {
    /// Creates the maintenance of all streams.
    pub fn new(hot: HotStore, cold: ColdStore, settings: Arc<Settings>) -> Self {
        let ledger_monitor = LedgerMonitor::new(hot.clone(), cold.clone());
        let dedup_pruner = DedupPruner::new(hot.clone(), cold.clone());
        Self { hot, cold, settings, ledger_monitor, dedup_pruner }
    }

    /// Runs periodically until aborted.
    pub fn run(mut self) -> impl Future<Output = ()> {
        let mut round = 0_u64;
        run_periodically(INTERVAL, "stream maintenance", async move || {
            let is_full_round = round.is_multiple_of(ROUNDS_PER_FULL_ROUND);
            round += 1;
            self.run_round(is_full_round).await
        })
    }

    /// Runs all steps, even if one fails, and returns the first error.
    async fn run_round(&mut self, is_full_round: bool) -> anyhow::Result<()> {
        let mut result = Ok(());
        for stream in Stream::ALL {
            result = result.and(self.ledger_monitor.check(stream).await);
            let maintained = self.maintain_stream(stream, is_full_round).await;
            result = result.and(maintained.map_err(Into::into));
        }
        result = result.and(self.dedup_pruner.prune(is_full_round).await);
        if is_full_round && let Ok(letters) = self.cold.dead_letters().count().await {
            metrics::gauge!(names::DEAD_LETTERS).set(as_f64(letters));
        }
        result
    }

    async fn maintain_stream(&self, stream: Stream, is_full_round: bool) -> Result<(), HotError> {
        let now = SystemClock.now();
        let length = self.hot.queue().length(stream).await?;
        let depth = self.hot.queue().depth(stream).await?;
        let age = depth.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        for (name, value) in [
            (names::QUEUE_LENGTH, as_f64(length)),
            (names::QUEUE_DEPTH, as_f64(depth.waiting)),
            (names::QUEUE_PENDING, as_f64(depth.pending)),
            (names::QUEUE_OLDEST_AGE_SECONDS, age.as_secs_f64()),
        ] {
            metrics::gauge!(name, "stream" => stream.name()).set(value);
        }
        let queue = &self.settings.queue;
        let window = match stream {
            Stream::Messages => queue.resume_window,
            // Subscribers cannot resume from plays.
            Stream::Plays => Duration::ZERO,
        };
        self.hot.queue().trim(stream, window, queue.resume_bytes_max, now).await?;
        if is_full_round {
            self.hot.queue().remove_idle_consumers(stream).await?;
            if stream == Stream::Plays {
                self.hot.queue().reconcile_waiting_plays().await?;
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
