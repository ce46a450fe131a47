//! What has to be done now and then, by every worker alike and harmlessly: trimming the streams,
//! forgetting dead consumers, watching the ledger, measuring the queues.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mayfly_cold::Cold;
use mayfly_core::{Clock, SystemClock};
use mayfly_hot::{Hot, HotError, Ledger, Stream};
use mayfly_runtime::{Settings, every, metrics as names};
use tracing::{debug, warn};

use crate::forgetter::Forgetter;

const INTERVAL: Duration = Duration::from_secs(1);
/// Consumers are forgotten, and dead letters counted, every so many intervals.
const SELDOM: u64 = 10;

/// Keeps the queues in order.
pub struct Keeper {
    hot: Hot,
    cold: Cold,
    settings: Arc<Settings>,
    forgetter: Forgetter,
    /// What Redis knew of each stream when this worker last looked.
    seen: HashMap<Stream, Ledger>,
}

impl Keeper {
    /// A keeper between the two stores.
    pub fn new(hot: Hot, cold: Cold, settings: Arc<Settings>) -> Self {
        let forgetter = Forgetter::new(hot.clone(), cold.clone());
        Self { hot, cold, settings, forgetter, seen: HashMap::new() }
    }

    /// Keeps on until aborted. What fails is tried again a second later.
    pub async fn run(mut self) {
        let mut ticks = every(INTERVAL);
        let mut round = 0_u64;
        loop {
            ticks.tick().await;
            let seldom = round.is_multiple_of(SELDOM);
            for stream in Stream::ALL {
                if let Err(error) = self.keep_ledger(stream).await {
                    debug!(%error, stream = stream.name(), "cannot keep the ledger now");
                }
                if let Err(error) = self.keep_queue(stream, seldom).await {
                    debug!(%error, stream = stream.name(), "cannot keep the queue now");
                }
            }
            if let Err(error) = self.forgetter.forget(seldom).await {
                debug!(%error, "cannot forget what is counted now");
            }
            if seldom && let Ok(letters) = self.cold.count_dead_letters().await {
                metrics::gauge!(names::DEAD_LETTERS).set(as_f64(letters));
            }
            round += 1;
        }
    }

    async fn keep_queue(&self, stream: Stream, seldom: bool) -> Result<(), HotError> {
        let now = SystemClock.now();
        let length = self.hot.stream_length(stream).await?;
        let depth = self.hot.queue_depth(stream).await?;
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
        // Nobody resumes from plays.
        let window = match stream {
            Stream::Messages => queue.resume_window,
            Stream::Plays => Duration::ZERO,
        };
        self.hot.trim(stream, window, queue.resume_bytes_max, now).await?;
        if seldom {
            self.hot.forget_consumers(stream).await?;
            if stream == Stream::Plays {
                self.hot.settle_waiting_plays().await?;
            }
        }
        Ok(())
    }

    /// Writes down what was accepted so far, and sees whether Redis lost something of it.
    ///
    /// Postgres is asked first: what it knows then was accepted before Redis is asked. If Redis
    /// knows of less, it came back without its last moments, and a new epoch begins. So it does if
    /// an entry is gone that was there a moment ago: as much may have been accepted since.
    async fn keep_ledger(&mut self, stream: Stream) -> anyhow::Result<()> {
        let before = self.hot.ledger(stream).await?;
        let known = self.cold.find_ledger(&before.epoch, stream.name()).await?;
        let present = self.hot.ledger(stream).await?;
        let knows_less = known.is_some_and(|known| {
            present.epoch == known.epoch
                && present.accepted < known.accepted.max(known.stored + known.dead_lettered)
        });
        if self.note_lost_entry(stream, &present).await? || knows_less {
            // What the others lost is to be noted in the epoch that is over, too.
            for other in Stream::ALL.into_iter().filter(|other| *other != stream) {
                let present = self.hot.ledger(other).await?;
                self.note_lost_entry(other, &present).await?;
            }
            let epoch = self.hot.begin_epoch(&present.epoch).await?;
            warn!(over = present.epoch, epoch, "Redis lost data: a new epoch begins");
            return Ok(());
        }
        self.cold.observe_ledger(&present.epoch, stream.name(), present.accepted).await?;
        self.seen.insert(stream, present);
        Ok(())
    }

    /// Whether the entry that was the newest a moment ago is lost. Then all that stands behind it
    /// was accepted since, and what was accepted before is what was seen then.
    async fn note_lost_entry(&self, stream: Stream, present: &Ledger) -> anyhow::Result<bool> {
        let seen = self.seen.get(&stream).filter(|seen| seen.epoch == present.epoch);
        let Some(seen) = seen else { return Ok(false) };
        let Some(newest) = &seen.newest else { return Ok(false) };
        if !self.hot.is_entry_lost(stream, newest).await? {
            return Ok(false);
        }
        let since = self.hot.count_behind(stream, &seen.epoch, newest).await?;
        self.cold.observe_ledger(&seen.epoch, stream.name(), seen.accepted + since).await?;
        Ok(true)
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
