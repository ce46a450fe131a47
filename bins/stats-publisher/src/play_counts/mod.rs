//! Publishes changed play counts: small counts, which are less than
//! [`IMMEDIATE_COUNTS_BELOW`](mayfly_core::limits::IMMEDIATE_COUNTS_BELOW), almost immediately, and
//! large counts once per interval.
//!
//! Redis stores the set of changed counts. One atomic step removes counts from the set, records
//! them as published and publishes them, so a killed publisher neither repeats nor loses a
//! publication.

mod saver;

use std::{sync::Arc, time::Duration};

use mayfly_core::{Clock, StoreError, Timestamp};
use mayfly_hot::{CountsPublishOutcome, HotError, HotStore, Role, TickOutcome};
use mayfly_runtime::ItemLog;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::saver::PublishedCountSaver;
use crate::{
    leadership::{LeaderJob, Leadership},
    metrics as names,
    schedule::Schedule,
};

/// The name of the lease.
const JOB: &str = "plays";
const LEASE_TTL: Duration = Duration::from_secs(2);
/// The interval between two publications of small counts. A play must be visible within 250 ms, and
/// a worker may first wait for up to 100 ms (by default) before it reads the next batch.
const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// The publisher of changed counts.
pub struct PlayCountPublisher {
    hot: HotStore,
    interval: Duration,
    schedule: Schedule,
    /// The start of the latest interval for which large counts were made due.
    current_interval: Option<Timestamp>,
    /// Notified after each publication.
    published: Arc<Notify>,
    steps: ItemLog,
}

impl PlayCountPublisher {
    /// Creates a publisher that publishes large counts once per `interval` and notifies `published`
    /// after each publication.
    pub fn new(hot: HotStore, interval: Duration, published: Arc<Notify>) -> Self {
        let schedule = Schedule::new(interval);
        let steps = ItemLog::new(Self::DESCRIPTION);
        Self { hot, interval, schedule, current_interval: None, published, steps }
    }

    /// Runs until the process drains.
    pub async fn run(self, draining: CancellationToken) {
        Leadership::new(&self.hot, JOB, LEASE_TTL).run(self, draining).await;
    }

    /// Makes the changed large counts due, once per interval of the Redis clock.
    async fn begin_interval(&mut self, leadership: &Leadership) -> Result<(), HotError> {
        let interval = self.schedule.interval_start(self.hot.clock().now());
        if self.current_interval != Some(interval) {
            let outcome = self.hot.plays().begin_tick(leadership.lease(), self.interval).await?;
            // If counts from an earlier interval have not been published yet, the next step
            // retries.
            if outcome != TickOutcome::Waiting {
                self.current_interval = Some(interval);
            }
        }
        Ok(())
    }
}

impl LeaderJob for PlayCountPublisher {
    const DESCRIPTION: &'static str = "publish play counts";

    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError> {
        if let Role::Standby(expires_in) = leadership.role().await? {
            return Ok(leadership.standby_pause(expires_in));
        }
        // Publish small counts even if Redis rejects the command that makes large counts due.
        let begun = self.begin_interval(leadership).await;
        self.steps.isolate("interval of large counts", begun, HotError::is_rejection)?;
        loop {
            match self.hot.plays().publish_counts(leadership.lease()).await? {
                CountsPublishOutcome::Published { frames, is_full } => {
                    metrics::counter!(names::PLAY_FRAMES_TOTAL).increment(frames as u64);
                    if frames > 0 {
                        self.published.notify_one();
                    }
                    if !is_full {
                        return Ok(POLL_INTERVAL);
                    }
                }
                CountsPublishOutcome::Restoring => return Ok(POLL_INTERVAL),
                CountsPublishOutcome::NotLeader => {
                    // Another leader may have begun a different interval.
                    leadership.invalidate();
                    self.current_interval = None;
                    return Ok(POLL_INTERVAL);
                }
            }
        }
    }
}
