//! The loop: while one batch is stored, the next is read.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mayfly_cold::Cold;
use mayfly_core::limits::MESSAGE_BYTES_MAX;
use mayfly_hot::{Consumer, Delivery, Hot, HotError, Popped};
use mayfly_runtime::Settings;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    settle::{CutShort, Settler, Touch},
    throttle::Throttle,
    work::Work,
};

/// How long a read waits for entries: also how long a worker without work takes to leave.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The pause after a read that failed.
const READ_PAUSE: Duration = Duration::from_millis(250);
/// Bytes that a batch should not exceed; the number of entries follows from what the last one
/// weighed.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Entries of a batch, however heavy they are.
const BATCH_ROWS_MIN: usize = 16;

/// One worker: one consumer of the group of a stream.
pub struct Worker<W> {
    consumer: Consumer,
    name: String,
    settler: Settler<W>,
    settings: Arc<Settings>,
    throttle: Throttle,
    draining: CancellationToken,
    /// When this worker looks for abandoned entries again.
    claim_at: Instant,
    /// What an entry weighed in the last batch; a heavy one, as long as nothing is known.
    entry_bytes: usize,
    /// Before which the queue is not read again: what arrives until then goes into one batch.
    read_at: Instant,
}

impl<W: Work> Worker<W> {
    /// A worker with a name that no other has.
    pub fn new(
        work: W,
        hot: Hot,
        cold: Cold,
        settings: Arc<Settings>,
        draining: CancellationToken,
    ) -> Self {
        let name = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
        Self {
            consumer: Consumer::new(hot.clone(), W::STREAM, name.clone()),
            settler: Settler::new(work, hot, cold, settings.clone(), draining.clone()),
            throttle: Throttle::new(settings.persist.rows_per_second_max),
            name,
            settings,
            draining,
            claim_at: Instant::now(),
            entry_bytes: MESSAGE_BYTES_MAX,
            read_at: Instant::now(),
        }
    }

    /// Works until told to drain, then settles what it has read.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while !self.draining.is_cancelled() {
            match Box::pin(self.step(batch)).await {
                Ok(next) => batch = next,
                Err(CutShort) => return,
            }
        }
        // What the last read brought is settled before leaving, if nothing is away.
        let touch = Touch::of(W::STREAM, &self.name);
        if self.settler.settle(&batch, &HashMap::new(), &touch).await.is_err() {
            info!(entries = batch.len(), "left entries pending; another worker takes them over");
        }
    }

    /// Settles a batch and reads the next one meanwhile.
    async fn step(&mut self, batch: Vec<Delivery>) -> Result<Vec<Delivery>, CutShort> {
        let rows = self.batch_rows(&batch);
        let started = Instant::now();
        let (touch, first) = (Touch::of(W::STREAM, &self.name), HashMap::new());
        let (settled, popped) = tokio::join!(self.settler.settle(&batch, &first, &touch), async {
            tokio::time::sleep_until(self.read_at).await;
            self.consumer.pop_batch(rows, READ_WAIT).await
        });
        settled?;
        self.read_at = self.next_read(&popped, rows);
        let next = match popped {
            Ok(popped) => self.accept(popped).await?,
            Err(error) => {
                self.expect_heavy();
                self.pause_after(&error).await;
                Vec::new()
            }
        };
        self.settler.retry_refused(&Touch::of(W::STREAM, &self.name)).await?;
        self.claim_abandoned(rows).await?;
        self.rest(batch.len(), started).await;
        Ok(next)
    }

    /// A full batch is followed by the next at once, for there is a backlog. Else some time is
    /// given for a batch to gather: many small transactions cost Postgres more than a few large ones.
    fn next_read(&self, popped: &Result<Popped, HotError>, rows: usize) -> Instant {
        let is_full = popped.as_ref().is_ok_and(|popped| popped.deliveries.len() >= rows);
        let gather = if is_full { Duration::ZERO } else { self.settings.persist.batch_interval };
        Instant::now() + gather
    }

    async fn accept(&self, popped: Popped) -> Result<Vec<Delivery>, CutShort> {
        self.settler.let_go(&popped.gone).await?;
        Ok(popped.deliveries)
    }

    async fn pause_after(&self, error: &HotError) {
        warn!(%error, "cannot read the queue; trying on");
        self.draining.run_until_cancelled(tokio::time::sleep(READ_PAUSE)).await;
    }

    /// Takes over what workers that died, or hang, left behind.
    async fn claim_abandoned(&mut self, rows: usize) -> Result<(), CutShort> {
        if Instant::now() < self.claim_at {
            return Ok(());
        }
        let idle = self.settings.queue.claim_after;
        match self.consumer.claim_batch(idle, rows).await {
            Ok((popped, delivered)) => {
                // A full batch: more may lie behind it.
                let pause = if popped.deliveries.len() < rows { idle / 6 } else { Duration::ZERO };
                self.claim_at = Instant::now() + pause;
                let claimed = self.accept(popped).await?;
                if !claimed.is_empty() {
                    info!(entries = claimed.len(), "took over entries of another worker");
                }
                self.settler.settle(&claimed, &delivered, &Touch::of(W::STREAM, &self.name)).await
            }
            Err(HotError::NoGroup) => Ok(()),
            Err(error) => {
                self.expect_heavy();
                self.claim_at = Instant::now() + READ_PAUSE;
                warn!(%error, "cannot look for abandoned entries; trying on");
                Ok(())
            }
        }
    }

    /// How many entries to read, by what those of the last batch weighed.
    fn batch_rows(&mut self, last: &[Delivery]) -> usize {
        if !last.is_empty() {
            self.entry_bytes = last.iter().map(W::weigh).sum::<usize>() / last.len();
        }
        let most = self.throttle.batch_rows(self.settings.persist.batch_rows_max);
        let fitting = BATCH_BYTES / self.entry_bytes.max(1);
        fitting.max(BATCH_ROWS_MIN).min(most)
    }

    /// After a read that failed, perhaps because it was too much at once: the next one is small.
    fn expect_heavy(&mut self) {
        self.entry_bytes = MESSAGE_BYTES_MAX;
    }

    async fn rest(&self, rows: usize, started: Instant) {
        let rest = self.throttle.rest_after(rows).saturating_sub(started.elapsed());
        if !rest.is_zero() {
            self.draining.run_until_cancelled(tokio::time::sleep(rest)).await;
        }
    }
}
