//! Publishing counts of plays: small ones at once, large ones at the tick, one publisher at a time.
//!
//! What changed stands in Redis, and taking it out, noting it as published, and publishing it are
//! one step there: a publisher that dies between any two lines here neither repeats nor forgets any.

use std::{sync::Arc, time::Duration};

use mayfly_cold::Cold;
use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_hot::{CountsPublished, Hot, HotError, Lease, Turn};
use mayfly_runtime::metrics as names;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::schedule::Schedule;

/// The job that is led.
const JOB: &str = "plays";
/// A leader that is silent for so long is followed by another.
const LEASE: Duration = Duration::from_secs(2);
/// How often it is looked for small counts. A play of a small count is to be seen within 250 ms; up
/// to 100 of them pass while a worker gathers a batch.
const STEP: Duration = Duration::from_millis(40);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(250);
/// How often it is looked for what was published and is not noted in Postgres.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Counts that are noted at once.
const SAVED_AT_ONCE: usize = 1_000;

/// Publishes counts, or is the spare.
pub struct CountsPublisher {
    hot: Hot,
    lease: Lease,
    renewed_at: Option<Instant>,
    schedule: Schedule,
    /// The tick that was seen to be begun last.
    tick: Option<Timestamp>,
    /// Told when something was published.
    published: Arc<Notify>,
}

/// Notes in Postgres what was published: after a loss of Redis that says what subscribers know.
pub struct CountsSaver {
    hot: Hot,
    cold: Cold,
    published: Arc<Notify>,
}

impl CountsPublisher {
    /// A publisher whose ticks are so far apart; it tells `published` when it published something.
    pub fn new(hot: Hot, interval: Duration, published: Arc<Notify>) -> Self {
        let lease = Lease::new(&hot, JOB, LEASE);
        let schedule = Schedule::new(interval);
        Self { hot, lease, renewed_at: None, schedule, tick: None, published }
    }

    /// Goes on until the drain; then gives the lease back, so that the spare leads at once.
    pub async fn run(mut self, draining: CancellationToken) {
        while !draining.is_cancelled() {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    debug!(%error, "cannot publish counts now");
                    self.renewed_at = None;
                    RETRY
                }
            };
            draining.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        if let Err(error) = self.lease.release().await {
            debug!(%error, "the lease could not be given back");
        }
    }

    /// Publishes what there is to publish; gives how long to wait then.
    async fn step(&mut self) -> Result<Duration, HotError> {
        let renew_every = self.lease.renew_every();
        if self.renewed_at.is_none_or(|at| at.elapsed() >= renew_every) {
            if let Turn::Others(left) = self.lease.hold().await? {
                return Ok(renew_every.min(left));
            }
            self.renewed_at = Some(Instant::now());
        }
        self.begin_tick().await?;
        loop {
            match self.hot.publish_counts(&self.lease).await? {
                CountsPublished::Done { frames, is_full } => {
                    metrics::counter!(names::PLAY_FRAMES_TOTAL).increment(frames as u64);
                    if frames > 0 {
                        self.published.notify_one();
                    }
                    if !is_full {
                        return Ok(STEP);
                    }
                }
                CountsPublished::Restoring => return Ok(STEP),
                CountsPublished::NotLeading => {
                    // Whether this tick has begun is to be asked again.
                    (self.renewed_at, self.tick) = (None, None);
                    return Ok(STEP);
                }
            }
        }
    }

    /// Makes what is large and changed due, once a tick.
    async fn begin_tick(&mut self) -> Result<(), HotError> {
        let now = SystemClock.now();
        let tick = self.schedule.last(now);
        if self.tick != Some(tick) {
            self.hot.begin_tick(&self.lease, tick, now).await?;
            self.tick = Some(tick);
        }
        Ok(())
    }
}

impl CountsSaver {
    /// Between the two stores; it is told by `published` when there is something to note.
    pub fn new(hot: Hot, cold: Cold, published: Arc<Notify>) -> Self {
        Self { hot, cold, published }
    }

    /// Goes on until the drain. Every publisher may be at it: what is not noted stands in Redis, so
    /// that another one goes on where this one ends, and looks for it now and then.
    pub async fn run(self, draining: CancellationToken) {
        let published = || tokio::time::timeout(LOOK_EVERY, self.published.notified());
        while draining.run_until_cancelled(published()).await.is_some() {
            if let Err(error) = self.save().await {
                debug!(%error, "cannot note what was published now");
            }
        }
    }

    /// Notes all there is. Killed between two lines, it is noted again, which changes nothing.
    async fn save(&self) -> anyhow::Result<()> {
        loop {
            let counts = self.hot.find_unsaved_counts(SAVED_AT_ONCE).await?;
            if counts.is_empty() {
                return Ok(());
            }
            self.cold.save_published_counts(&counts).await?;
            self.hot.forget_unsaved_counts(&counts).await?;
            if counts.len() < SAVED_AT_ONCE {
                return Ok(());
            }
        }
    }
}
