//! Periodic, idempotent maintenance that every process runs.

mod dedup_pruner;
mod ledger_monitor;
mod loss_gauge;
pub mod sample_retention;
mod stream_cleaner;

use std::{sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_hot::{HotError, HotStore, Stream};
use mayfly_runtime::{OutageLog, Settings, run_periodically, ticker};
use tokio_util::sync::CancellationToken;

use self::{
    dedup_pruner::DedupPruner, ledger_monitor::LedgerMonitor, loss_gauge::LossGauge,
    stream_cleaner::StreamCleaner,
};
use crate::metrics as names;

const INTERVAL: Duration = Duration::from_secs(1);
/// The number of rounds after which the expensive steps run again.
const ROUNDS_PER_FULL_ROUND: u64 = 10;

/// Counts a round and returns whether it includes the expensive steps.
fn is_full_round(round: &mut u64) -> bool {
    let is_full = round.is_multiple_of(ROUNDS_PER_FULL_ROUND);
    *round += 1;
    is_full
}

/// The maintenance of the queues, which needs only Redis. Every process measures the queues, and
/// the leader cleans the streams.
pub struct QueueMaintenance {
    hot: HotStore,
    stream_cleaner: StreamCleaner,
}

impl QueueMaintenance {
    /// Creates the maintenance for all queues.
    pub fn new(hot: HotStore, settings: Arc<Settings>) -> Self {
        Self { stream_cleaner: StreamCleaner::new(hot.clone(), settings), hot }
    }

    /// Runs periodically until the process drains, then releases the lease of the cleaner.
    pub async fn run(mut self, draining: CancellationToken) {
        let (mut ticks, outages) = (ticker(INTERVAL), OutageLog::new("queue maintenance"));
        let mut round = 0;
        while draining.run_until_cancelled(ticks.tick()).await.is_some() {
            outages.record(&self.run_round(is_full_round(&mut round)).await);
        }
        self.stream_cleaner.release().await;
    }

    /// Runs all steps, even if one fails, and returns the first error.
    async fn run_round(&mut self, is_full_round: bool) -> Result<(), HotError> {
        let mut result = Ok(());
        for stream in Stream::ALL {
            result = result.and(self.measure(stream).await);
        }
        result.and(self.stream_cleaner.clean(is_full_round).await)
    }

    async fn measure(&self, stream: Stream) -> Result<(), HotError> {
        let length = self.hot.queue().length(stream).await?;
        let depth = self.hot.queue().depth(stream).await?;
        for (name, value) in [
            (names::QUEUE_LENGTH, as_f64(length)),
            (names::QUEUE_DEPTH, as_f64(depth.items)),
            (names::QUEUE_PENDING, as_f64(depth.pending)),
            (names::QUEUE_OLDEST_AGE_SECONDS, depth.oldest_age.as_secs_f64()),
        ] {
            metrics::gauge!(name, "stream" => stream.name()).set(value);
        }
        Ok(())
    }
}

/// The maintenance that needs both stores. Checks the ledger, prunes the records of counted plays,
/// and exports the numbers of lost items and dead letters. Runs separately, so that an outage of
/// Postgres does not delay the maintenance of the queues.
pub struct LedgerMaintenance {
    cold: ColdStore,
    ledger_monitor: LedgerMonitor,
    loss_gauge: LossGauge,
    dedup_pruner: DedupPruner,
}

impl LedgerMaintenance {
    /// Creates the maintenance for all streams.
    pub fn new(hot: &HotStore, cold: ColdStore, settings: &Settings) -> Self {
        let ledger_monitor = LedgerMonitor::new(hot.clone(), cold.clone());
        let loss_gauge = LossGauge::new(hot.clone(), cold.clone(), settings.queue.depth_max);
        let dedup_pruner = DedupPruner::new(hot.clone(), cold.clone());
        Self { cold, ledger_monitor, loss_gauge, dedup_pruner }
    }

    /// Runs periodically until aborted.
    pub fn run(mut self) -> impl Future<Output = ()> {
        let mut round = 0;
        run_periodically(INTERVAL, "ledger maintenance", async move || {
            self.run_round(is_full_round(&mut round)).await
        })
    }

    /// Runs all steps, even if one fails, and returns the first error. Ignores a failure to count
    /// dead letters.
    async fn run_round(&mut self, is_full_round: bool) -> anyhow::Result<()> {
        let mut result = self.ledger_monitor.check_all().await;
        result = result.and(self.dedup_pruner.prune(is_full_round).await);
        for stream in Stream::ALL.into_iter().filter(|_| is_full_round) {
            result = result.and(self.loss_gauge.update(stream).await);
        }
        if is_full_round && let Ok(letters) = self.cold.dead_letters().count().await {
            metrics::gauge!(names::DEAD_LETTERS).set(as_f64(letters));
        }
        result
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
