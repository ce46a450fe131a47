//! What has to be done now and then, by every worker alike and harmlessly: trimming the stream,
//! forgetting dead consumers, watching the ledger, measuring the queue.

use std::{sync::Arc, time::Duration};

use mayfly_cold::Cold;
use mayfly_core::{Clock, SystemClock};
use mayfly_hot::{Hot, HotError, Ledger};
use mayfly_runtime::{Settings, metrics as names};
use tracing::{debug, warn};

use crate::batch::STREAM;

const INTERVAL: Duration = Duration::from_secs(1);
/// Consumers are forgotten, and dead letters counted, every so many intervals.
const SELDOM: u64 = 10;

/// Keeps the queue in order.
pub struct Keeper {
    hot: Hot,
    cold: Cold,
    settings: Arc<Settings>,
    /// What Redis knew when this worker last looked.
    seen: Option<Ledger>,
}

impl Keeper {
    /// A keeper between the two stores.
    pub fn new(hot: Hot, cold: Cold, settings: Arc<Settings>) -> Self {
        Self { hot, cold, settings, seen: None }
    }

    /// Keeps on until aborted. What fails is tried again a second later.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u64;
        loop {
            ticks.tick().await;
            if let Err(error) = self.keep_ledger().await {
                debug!(%error, "cannot keep the ledger now");
            }
            if let Err(error) = self.keep_queue(round.is_multiple_of(SELDOM)).await {
                debug!(%error, "cannot keep the queue now");
            }
            if round.is_multiple_of(SELDOM)
                && let Ok(letters) = self.cold.count_dead_letters().await
            {
                gauge(names::DEAD_LETTERS, letters);
            }
            round += 1;
        }
    }

    async fn keep_queue(&self, seldom: bool) -> Result<(), HotError> {
        let now = SystemClock.now();
        let (depth, oldest) = self.hot.queue_depth().await?;
        metrics::gauge!(names::QUEUE_DEPTH, "stream" => STREAM).set(as_f64(depth));
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        metrics::gauge!(names::QUEUE_OLDEST_AGE_SECONDS, "stream" => STREAM).set(age.as_secs_f64());
        let queue = &self.settings.queue;
        self.hot.trim(queue.resume_window, queue.resume_bytes_max, now).await?;
        if seldom {
            self.hot.forget_consumers().await?;
        }
        Ok(())
    }

    /// Writes down what was accepted so far, and sees whether Redis lost something of it.
    ///
    /// Postgres is asked first: what it knows then was accepted before Redis is asked. If Redis
    /// knows of less, it came back without its last moments, and a new epoch begins. So it does if
    /// an entry is gone that was there a moment ago: as much may have been accepted since.
    async fn keep_ledger(&mut self) -> anyhow::Result<()> {
        let before = self.hot.ledger().await?;
        let known = self.cold.find_ledger(&before.epoch, STREAM).await?;
        let present = self.hot.ledger().await?;
        let knows_less = known.is_some_and(|known| {
            present.epoch == known.epoch
                && present.accepted < known.accepted.max(known.stored + known.dead_lettered)
        });
        if self.note_lost_entry(&present).await? || knows_less {
            let epoch = self.hot.begin_epoch(&present.epoch).await?;
            warn!(over = present.epoch, epoch, "Redis lost data: a new epoch begins");
            return Ok(());
        }
        let seen = self.seen.insert(present);
        self.cold.observe_ledger(&seen.epoch, STREAM, seen.accepted).await?;
        Ok(())
    }

    /// Whether the entry that was the newest a moment ago is lost. Then all that stands behind it
    /// was accepted since, and what was accepted before is what was seen then.
    async fn note_lost_entry(&self, present: &Ledger) -> anyhow::Result<bool> {
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.epoch == present.epoch) else {
            return Ok(false);
        };
        let Some(newest) = &seen.newest else { return Ok(false) };
        if !self.hot.is_entry_lost(newest).await? {
            return Ok(false);
        }
        let since = self.hot.count_behind(&seen.epoch, newest).await?;
        self.cold.observe_ledger(&seen.epoch, STREAM, seen.accepted + since).await?;
        Ok(true)
    }
}

fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(as_f64(value));
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
