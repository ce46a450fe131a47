//! The worker loop: reads the next batch while the current one is processed.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_hot::{Consumer, Delivery, HotError, HotStore, ReadBatch};
use mayfly_runtime::Settings;
use tokio::{sync::Mutex, time::Instant};
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

/// The maximum time that a read blocks. An idle worker can take this long to notice a shutdown.
const READ_BLOCK: Duration = Duration::from_millis(500);
/// The pause after a failed read.
const READ_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// A batch of at least this many bytes is complete, even if it contains fewer than
/// `persist.batch_rows_max` entries. The last read can make the batch larger.
const BATCH_BYTES_TARGET: usize = 8 * 1024 * 1024;
/// The target size in bytes of a read in which all entries have the maximum size. A batch is read
/// in several steps, because the size of its entries is unknown in advance and one large read could
/// use a lot of memory.
const READ_BYTES_TARGET: usize = 2 * 1024 * 1024;
/// The minimum result of [`read_rows`], regardless of the size of the entries.
const READ_ROWS_MIN: usize = 16;

/// Returns the maximum number of entries in one read.
const fn read_rows(entry_bytes_max: usize) -> usize {
    let rows = READ_BYTES_TARGET / entry_bytes_max;
    if rows > READ_ROWS_MIN { rows } else { READ_ROWS_MIN }
}

/// The result of reading a batch.
#[derive(Default)]
struct Batch {
    read: ReadBatch,
    /// Whether the batch is complete. If it is, more entries are probably waiting.
    is_full: bool,
}

/// A worker: one consumer in the consumer group of a stream.
pub struct Worker<H> {
    consumer: Consumer,
    /// The lock that this worker holds while it reads a batch. If the workers of a process read
    /// concurrently, their batches could interleave, and the messages of one request could be
    /// stored out of order.
    reading: Arc<Mutex<()>>,
    processor: BatchProcessor<H>,
    heartbeat: Rc<ClaimHeartbeat>,
    settings: Arc<Settings>,
    throttle: Throttle,
    draining: CancellationToken,
    outages: WorkerOutages,
    /// The time of the next attempt to claim abandoned entries.
    claim_at: Instant,
    /// The earliest time of the next read. A pause between reads makes batches larger.
    read_at: Instant,
}

impl<H: StreamHandler> Worker<H> {
    /// Creates a worker with a unique consumer name. All workers of a process that read the same
    /// stream must share `reading`.
    pub fn new(
        handler: H,
        hot: HotStore,
        cold: ColdStore,
        settings: Arc<Settings>,
        draining: CancellationToken,
        outages: WorkerOutages,
        reading: Arc<Mutex<()>>,
    ) -> Self {
        let name = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
        let report = outages.report.clone();
        let heartbeat = ClaimHeartbeat::new(hot.clone(), H::STREAM, name.clone(), report);
        Self {
            consumer: Consumer::new(hot.clone(), H::STREAM, name),
            reading,
            processor: BatchProcessor::new(
                handler,
                hot,
                cold,
                settings.clone(),
                draining.clone(),
                outages.clone(),
            ),
            heartbeat: Rc::new(heartbeat),
            throttle: Throttle::new(settings.persist.rows_per_second_max),
            settings,
            draining,
            outages,
            claim_at: Instant::now(),
            read_at: Instant::now(),
        }
    }

    /// Runs until the process drains, then processes the last batch that the worker has read. If a
    /// store is unavailable during the drain, unprocessed entries stay pending.
    pub async fn run(mut self) {
        let heartbeat = Rc::clone(&self.heartbeat);
        tokio::select! {
            () = self.run_until_drained() => {}
            () = heartbeat.run() => {}
        }
    }

    async fn run_until_drained(&mut self) {
        let mut batch = Vec::new();
        while !self.draining.is_cancelled() {
            match Box::pin(self.step(batch)).await {
                Ok(next) => batch = next,
                Err(ShuttingDown) => return,
            }
        }
        if self.processor.process(&batch, &HashMap::new()).await.is_err() {
            info!(
                stream = H::STREAM.name(),
                entries = batch.len(),
                "shutting down with pending entries; another worker will claim them"
            );
        }
    }

    /// Processes a batch while reading the next one. Then retries the rejected entries that are
    /// due, and claims and processes abandoned entries. Returns the next batch, which is empty if
    /// the read failed.
    async fn step(&mut self, batch: Vec<Delivery>) -> Result<Vec<Delivery>, ShuttingDown> {
        let started = Instant::now();
        self.heartbeat.set(batch.iter().chain(self.processor.rejected()));
        let first_delivery = HashMap::new();
        let process = self.processor.process(&batch, &first_delivery);
        let rows = self.throttle.batch_rows(self.settings.persist.batch_rows_max);
        let (processed, read) = tokio::join!(process, async {
            tokio::time::sleep_until(self.read_at).await;
            let _turn = self.reading.lock().await;
            if self.draining.is_cancelled() {
                return Ok(Batch::default());
            }
            read_batch::<H>(&mut self.consumer, rows, &self.heartbeat).await
        });
        processed?;
        self.read_at = self.next_read_at(&read);
        self.outages.read.record(&read);
        let next = if let Ok(batch) = read {
            self.ack_missing(batch.read).await?
        } else {
            self.pause_after_failed_read().await;
            Vec::new()
        };
        self.processor.retry_rejected().await?;
        self.claim_abandoned(rows).await?;
        self.throttle(batch.len(), started).await;
        Ok(next)
    }

    /// Returns the earliest time of the next read. After a full batch, the worker reads
    /// immediately, because there is probably a backlog. Otherwise, it waits for the batch
    /// interval, because a few large transactions cost Postgres less than many small ones.
    fn next_read_at(&self, read: &Result<Batch, HotError>) -> Instant {
        let is_full = read.as_ref().is_ok_and(|batch| batch.is_full);
        let pause = if is_full { Duration::ZERO } else { self.settings.persist.batch_interval };
        Instant::now() + pause
    }

    /// Acknowledges the entries of a batch that were deleted from the stream, and returns the
    /// remaining entries.
    async fn ack_missing(&self, read: ReadBatch) -> Result<Vec<Delivery>, ShuttingDown> {
        self.processor.ack_missing(&read.deleted).await?;
        Ok(read.deliveries)
    }

    async fn pause_after_failed_read(&self) {
        self.draining.run_until_cancelled(tokio::time::sleep(READ_RETRY_INTERVAL)).await;
    }

    /// If a claim is due, claims and processes up to `rows` pending entries that have been idle for
    /// `queue.claim_after`, for example because their worker has crashed.
    async fn claim_abandoned(&mut self, rows: usize) -> Result<(), ShuttingDown> {
        if Instant::now() < self.claim_at {
            return Ok(());
        }
        let mut claimed = 0;
        while claimed < rows && !self.draining.is_cancelled() {
            let step = read_rows(H::ENTRY_BYTES_MAX).min(rows - claimed);
            let count = self.claim_step(step).await?;
            claimed += count;
            if count < step {
                break;
            }
        }
        if claimed > 0 {
            info!(
                stream = H::STREAM.name(),
                entries = claimed,
                "claimed and processed idle pending entries"
            );
        }
        Ok(())
    }

    /// Claims and processes up to `rows` entries. Returns the number of processed entries, which is
    /// 0 if the claim failed.
    async fn claim_step(&mut self, rows: usize) -> Result<usize, ShuttingDown> {
        let idle = self.settings.queue.claim_after;
        let claimed = self.consumer.claim_batch(idle, rows).await;
        if !matches!(claimed, Err(HotError::NoGroup)) {
            self.outages.claim.record(&claimed);
        }
        match claimed {
            Ok((read, delivery_counts)) => {
                // After a full batch, the next claim is due immediately, because more entries may
                // follow.
                let pause = if read.deliveries.len() < rows { idle / 6 } else { Duration::ZERO };
                self.claim_at = Instant::now() + pause;
                self.heartbeat.add(&read.deliveries);
                let claimed = self.ack_missing(read).await?;
                self.processor.process(&claimed, &delivery_counts).await?;
                Ok(claimed.len())
            }
            Err(HotError::NoGroup) => Ok(0),
            Err(_) => {
                self.claim_at = Instant::now() + READ_RETRY_INTERVAL;
                Ok(0)
            }
        }
    }

    async fn throttle(&self, rows: usize, started: Instant) {
        let pause = self.throttle.min_duration(rows).saturating_sub(started.elapsed());
        if !pause.is_zero() {
            self.draining.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }
}

/// Waits for entries, then reads in steps until the batch is complete or no more entries are
/// waiting. A batch is complete if it contains `rows` entries or [`BATCH_BYTES_TARGET`] bytes. If a
/// step fails, the entries of earlier steps stay pending, and the consumer reads them again. Adds
/// the entries of each step to the heartbeat.
async fn read_batch<H: StreamHandler>(
    consumer: &mut Consumer,
    rows: usize,
    heartbeat: &ClaimHeartbeat,
) -> Result<Batch, HotError> {
    const NO_WAIT: Duration = Duration::ZERO;
    let (mut batch, mut bytes, mut wait) = (ReadBatch::default(), 0, READ_BLOCK);
    loop {
        let step = read_rows(H::ENTRY_BYTES_MAX).min(rows - batch.deliveries.len());
        let read = consumer.read_batch(step, wait).await?;
        heartbeat.add(&read.deliveries);
        let is_step_full = read.deliveries.len() >= step;
        bytes += read.deliveries.iter().map(H::size).sum::<usize>();
        batch.deliveries.extend(read.deliveries);
        batch.deleted.extend(read.deleted);
        let is_full = batch.deliveries.len() >= rows || bytes >= BATCH_BYTES_TARGET;
        if is_full || !is_step_full {
            return Ok(Batch { read: batch, is_full });
        }
        wait = NO_WAIT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stream_handler::plays::PlayHandler,
        test_stores::{TIMEOUT, TestStores, plays},
    };

    const LONG: Duration = Duration::from_secs(3_600);

    fn worker(stores: &TestStores, draining: &CancellationToken) -> Worker<PlayHandler> {
        let (hot, cold, mut settings) =
            (stores.hot.clone(), stores.cold.clone(), stores.settings.clone());
        settings.persist.retry_after = LONG;
        let handler = PlayHandler::new(hot.clone(), cold.clone(), TIMEOUT);
        let (settings, outages) = (Arc::new(settings), WorkerOutages::new());
        Worker::new(handler, hot, cold, settings, draining.clone(), outages, Arc::default())
    }

    /// Makes all pending entries look idle, waits until heartbeats have reset their idle times,
    /// then drains.
    async fn drain_after_heartbeats(stores: &TestStores, draining: &CancellationToken) {
        stores.make_plays_idle().await;
        let expected = "heartbeats are sent for all entries";
        stores.wait_for_pending(expected, |all| all.iter().all(|entry| !entry.is_idle())).await;
        draining.cancel();
    }

    #[tokio::test]
    async fn heartbeats_are_sent_for_all_entries_that_a_worker_holds() {
        let (stores, draining) = (TestStores::without_postgres().await, CancellationToken::new());
        let mut worker = worker(&stores, &draining);
        // The worker does not claim entries in this test.
        worker.claim_at = Instant::now() + LONG;
        let body: &str = &plays(Uuid::now_v7());
        for delivery in stores.deliver_plays("other", &[body]).await {
            worker.processor.keep_for_retry(&delivery);
        }
        let checking = async {
            // While the worker retries the first entry, it reads the second.
            for count in [2, 3] {
                stores.append_plays(body).await;
                let expected = "the worker reads the entry";
                stores.wait_for_pending(expected, |all| all.len() == count).await;
            }
            drain_after_heartbeats(&stores, &draining).await;
        };
        tokio::join!(Box::pin(worker.run()), checking);
    }

    #[tokio::test]
    async fn heartbeats_are_sent_for_claimed_entries() {
        let (stores, draining) = (TestStores::without_postgres().await, CancellationToken::new());
        let body: &str = &plays(Uuid::now_v7());
        stores.deliver_plays("crashed", &[body, body]).await;
        stores.make_plays_idle().await;
        let worker = worker(&stores, &draining);
        let checking = async {
            let expected = "the worker claims the entries";
            stores.wait_for_pending(expected, |all| all.iter().all(|entry| !entry.is_idle())).await;
            drain_after_heartbeats(&stores, &draining).await;
        };
        tokio::join!(Box::pin(worker.run()), checking);
    }
}
