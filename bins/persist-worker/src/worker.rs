//! The worker loop: reads the next batch while the current one is processed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_core::limits::MESSAGE_BYTES_MAX;
use mayfly_hot::{Consumer, Delivery, HotError, HotStore, ReadBatch};
use mayfly_runtime::Settings;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use crate::{
    batch_processor::{BatchProcessor, ShuttingDown},
    claim_heartbeat::ClaimHeartbeat,
    outages::WorkerOutages,
    stream_handler::StreamHandler,
    throttle::Throttle,
};

/// How long a read blocks. An idle worker takes this long to shut down.
const READ_BLOCK: Duration = Duration::from_millis(500);
/// The pause after a failed read.
const READ_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// The target size of a batch. The number of its entries follows from the average entry size of the
/// previous batch.
const BATCH_BYTES_TARGET: usize = 8 * 1024 * 1024;
/// The minimum number of entries of a batch, regardless of their size.
const BATCH_ROWS_MIN: usize = 16;

/// A worker: one consumer of the consumer group of a stream.
pub struct Worker<H> {
    consumer: Consumer,
    name: String,
    processor: BatchProcessor<H>,
    settings: Arc<Settings>,
    throttle: Throttle,
    draining: CancellationToken,
    outages: WorkerOutages,
    /// The time of the next attempt to claim abandoned entries.
    claim_at: Instant,
    /// The average entry size of the previous batch, or the maximum while it is unknown.
    entry_bytes: usize,
    /// The earliest time of the next read: entries that arrive before it form one batch.
    read_at: Instant,
}

impl<H: StreamHandler> Worker<H> {
    /// Creates a worker with a unique consumer name.
    pub fn new(
        handler: H,
        hot: HotStore,
        cold: ColdStore,
        settings: Arc<Settings>,
        draining: CancellationToken,
        outages: WorkerOutages,
    ) -> Self {
        let name = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
        Self {
            consumer: Consumer::new(hot.clone(), H::STREAM, name.clone()),
            processor: BatchProcessor::new(
                handler,
                hot,
                cold,
                settings.clone(),
                draining.clone(),
                outages.clone(),
            ),
            throttle: Throttle::new(settings.persist.rows_per_second_max),
            name,
            settings,
            draining,
            outages,
            claim_at: Instant::now(),
            entry_bytes: MESSAGE_BYTES_MAX,
            read_at: Instant::now(),
        }
    }

    /// Runs until the worker is drained, then processes the last batch that it has read.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while !self.draining.is_cancelled() {
            match Box::pin(self.step(batch)).await {
                Ok(next) => batch = next,
                Err(ShuttingDown) => return,
            }
        }
        let heartbeat = ClaimHeartbeat::new(H::STREAM, &self.name);
        if self.processor.process(&batch, &HashMap::new(), &heartbeat).await.is_err() {
            info!(
                stream = H::STREAM.name(),
                entries = batch.len(),
                "shut down with pending entries; another worker claims them"
            );
        }
    }

    /// Processes a batch and reads the next one concurrently.
    async fn step(&mut self, batch: Vec<Delivery>) -> Result<Vec<Delivery>, ShuttingDown> {
        let rows = self.batch_rows(&batch);
        let started = Instant::now();
        let heartbeat = ClaimHeartbeat::new(H::STREAM, &self.name);
        let first_delivery = HashMap::new();
        let process = self.processor.process(&batch, &first_delivery, &heartbeat);
        let (processed, read) = tokio::join!(process, async {
            tokio::time::sleep_until(self.read_at).await;
            self.consumer.read_batch(rows, READ_BLOCK).await
        });
        processed?;
        self.read_at = self.next_read_at(&read, rows);
        self.outages.read.record(&read);
        let next = if let Ok(read) = read {
            self.ack_missing(read).await?
        } else {
            self.expect_large_entries();
            self.pause_after_failed_read().await;
            Vec::new()
        };
        let heartbeat = ClaimHeartbeat::new(H::STREAM, &self.name);
        self.processor.retry_rejected(&heartbeat).await?;
        self.claim_abandoned(rows).await?;
        self.throttle(batch.len(), started).await;
        Ok(next)
    }

    /// Returns the time of the next read: immediately after a full batch, since there is a backlog,
    /// else after the batch interval, since a few large transactions cost Postgres less than many
    /// small ones.
    fn next_read_at(&self, read: &Result<ReadBatch, HotError>, rows: usize) -> Instant {
        let is_full = read.as_ref().is_ok_and(|read| read.deliveries.len() >= rows);
        let pause = if is_full { Duration::ZERO } else { self.settings.persist.batch_interval };
        Instant::now() + pause
    }

    /// Acknowledges the entries of a batch that no longer exist, and returns the others.
    async fn ack_missing(&self, read: ReadBatch) -> Result<Vec<Delivery>, ShuttingDown> {
        self.processor.ack_missing(&read.deleted).await?;
        Ok(read.deliveries)
    }

    async fn pause_after_failed_read(&self) {
        self.draining.run_until_cancelled(tokio::time::sleep(READ_RETRY_INTERVAL)).await;
    }

    /// Claims and processes the entries of workers that crashed or hang.
    async fn claim_abandoned(&mut self, rows: usize) -> Result<(), ShuttingDown> {
        if Instant::now() < self.claim_at {
            return Ok(());
        }
        let idle = self.settings.queue.claim_after;
        let claimed = self.consumer.claim_batch(idle, rows).await;
        if !matches!(claimed, Err(HotError::NoGroup)) {
            self.outages.claim.record(&claimed);
        }
        match claimed {
            Ok((read, delivery_counts)) => {
                // A full batch can be followed by more entries.
                let pause = if read.deliveries.len() < rows { idle / 6 } else { Duration::ZERO };
                self.claim_at = Instant::now() + pause;
                let claimed = self.ack_missing(read).await?;
                if !claimed.is_empty() {
                    info!(
                        stream = H::STREAM.name(),
                        entries = claimed.len(),
                        "claimed pending entries of another worker"
                    );
                }
                let heartbeat = ClaimHeartbeat::new(H::STREAM, &self.name);
                self.processor.process(&claimed, &delivery_counts, &heartbeat).await
            }
            Err(HotError::NoGroup) => Ok(()),
            Err(_) => {
                self.expect_large_entries();
                self.claim_at = Instant::now() + READ_RETRY_INTERVAL;
                Ok(())
            }
        }
    }

    /// Returns how many entries to read, given the entry size of the previous batch.
    fn batch_rows(&mut self, previous: &[Delivery]) -> usize {
        if !previous.is_empty() {
            self.entry_bytes = previous.iter().map(H::size).sum::<usize>() / previous.len();
        }
        let rows_max = self.throttle.batch_rows(self.settings.persist.batch_rows_max);
        let target = BATCH_BYTES_TARGET / self.entry_bytes.max(1);
        target.max(BATCH_ROWS_MIN).min(rows_max)
    }

    /// Makes the next batch small after a failed read, which may have been too large.
    fn expect_large_entries(&mut self) {
        self.entry_bytes = MESSAGE_BYTES_MAX;
    }

    async fn throttle(&self, rows: usize, started: Instant) {
        let pause = self.throttle.min_duration(rows).saturating_sub(started.elapsed());
        if !pause.is_zero() {
            self.draining.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }
}
