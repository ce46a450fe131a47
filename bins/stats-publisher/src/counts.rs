//! Publishing counts of plays: small ones at once, large ones at the tick, one publisher at a time.
//!
//! What changed stands in Redis, and taking it out, noting it as published, and publishing it are
//! one step there: a publisher that dies between any two lines here neither repeats nor forgets any.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mayfly_cold::Cold;
use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_hot::{CountsPublished, Hot, HotError, Lease, Turn};
use mayfly_runtime::metrics as names;
use tokio::time::Instant;
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
/// How often what was published is noted in Postgres.
const SAVE_EVERY: Duration = Duration::from_millis(250);
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
    published: Published,
}

/// What was published and is not noted in Postgres yet: one count a video. Clones share it.
#[derive(Clone, Default)]
pub struct Published(Arc<Mutex<HashMap<String, u64>>>);

impl CountsPublisher {
    /// A publisher whose ticks are so far apart; what it publishes it tells `published`.
    pub fn new(hot: Hot, interval: Duration, published: Published) -> Self {
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
                CountsPublished::Done { counts, frames, is_full } => {
                    metrics::counter!(names::PLAY_FRAMES_TOTAL).increment(frames as u64);
                    self.published.add(counts);
                    if !is_full {
                        return Ok(STEP);
                    }
                }
                CountsPublished::Restoring => return Ok(STEP),
                CountsPublished::NotLeading => {
                    self.renewed_at = None;
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

impl Published {
    fn add(&self, counts: Vec<(String, u64)>) {
        self.lock().extend(counts);
    }

    /// Notes in Postgres what was published, again and again: after a loss of Redis it says what
    /// subscribers know. While Postgres is away it waits here; nothing new is counted then.
    pub async fn save(self, cold: Cold, draining: CancellationToken) {
        while draining.run_until_cancelled(tokio::time::sleep(SAVE_EVERY)).await.is_some() {
            self.save_now(&cold).await;
        }
        self.save_now(&cold).await;
    }

    async fn save_now(&self, cold: &Cold) {
        let counts: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        for chunk in counts.chunks(SAVED_AT_ONCE) {
            if let Err(error) = cold.save_published_counts(chunk).await {
                debug!(%error, "cannot note what was published now");
                let mut newer = self.lock();
                for (video, count) in chunk {
                    newer.entry(video.clone()).or_insert(*count);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
