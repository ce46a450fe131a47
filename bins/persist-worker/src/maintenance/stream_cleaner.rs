//! Cleaning of the streams by one worker for all.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mayfly_hot::{HotError, HotStore, Lease, Role, Stream};
use mayfly_runtime::{LogBudget, Settings};
use tracing::{debug, info, warn};

/// The name of the lease.
const JOB: &str = "maintenance";
/// Another worker takes over after this time if the leader crashes.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// The number of groups whose names are remembered.
const REPORTED_GROUPS_MAX: usize = 100;
/// Lines about each kind of change by hand.
const LINES_PER_MINUTE: u32 = 1;

/// Trims the streams, removes consumers of workers that no longer run, and repairs changes made by
/// hand, while this worker holds the lease. Every step is idempotent: the lease only limits the
/// load of Redis.
pub struct StreamCleaner {
    hot: HotStore,
    settings: Arc<Settings>,
    lease: Lease,
    /// Where the comparison of waiting messages with the queue continues.
    cursor: String,
    /// Groups of other programs that were already logged, by stream.
    reported_groups: HashSet<(Stream, String)>,
    /// Messages whose entries were deleted or discarded by hand, and that are not logged yet.
    deleted: u64,
    discarded: u64,
    deleted_lines: LogBudget,
    discarded_lines: LogBudget,
}

impl StreamCleaner {
    /// Creates a cleaner that does not hold the lease.
    pub fn new(hot: HotStore, settings: Arc<Settings>) -> Self {
        let lease = Lease::new(&hot, JOB, LEASE_TTL);
        Self {
            hot,
            settings,
            lease,
            cursor: "0".to_owned(),
            reported_groups: HashSet::new(),
            deleted: 0,
            discarded: 0,
            deleted_lines: LogBudget::new(LINES_PER_MINUTE),
            discarded_lines: LogBudget::new(LINES_PER_MINUTE),
        }
    }

    /// Runs all steps if this worker leads, even if one fails, and returns the first error.
    pub async fn clean(&mut self, is_full_round: bool) -> Result<(), HotError> {
        if self.lease.acquire_or_renew().await? != Role::Leader {
            return Ok(());
        }
        let mut result = Ok(());
        for stream in Stream::ALL {
            result = result.and(self.trim(stream).await);
            if is_full_round {
                result = result.and(self.hot.queue().remove_idle_consumers(stream).await.map(drop));
                result = result.and(self.reconcile_lag(stream).await);
            }
        }
        if is_full_round {
            result = result.and(self.hot.queue().reconcile_waiting_plays().await);
        }
        result.and(self.reconcile_waiting_messages().await)
    }

    /// Releases the lease, so that another worker takes over immediately.
    pub async fn release(&mut self) {
        if let Err(error) = self.lease.release().await {
            debug!(job = JOB, %error, "cannot release the lease; it expires");
        }
    }

    async fn trim(&mut self, stream: Stream) -> Result<(), HotError> {
        let queue = &self.settings.queue;
        let window = match stream {
            Stream::Messages => queue.resume_window,
            // Subscribers cannot resume from plays.
            Stream::Plays => Duration::ZERO,
        };
        let outcome = self.hot.queue().trim(stream, window, queue.resume_bytes_max).await?;
        for group in outcome.other_groups {
            let is_new = self.reported_groups.len() < REPORTED_GROUPS_MAX
                && self.reported_groups.insert((stream, group.clone()));
            if is_new {
                warn!(
                    stream = stream.name(),
                    group,
                    "a consumer group that is not Mayfly's has not read entries that are older than \
                     the resume window: they are trimmed; remove the group with XGROUP DESTROY if \
                     nothing reads it"
                );
            }
        }
        Ok(())
    }

    async fn reconcile_lag(&self, stream: Stream) -> Result<(), HotError> {
        if self.hot.queue().reconcile_lag(stream).await? {
            info!(
                stream = stream.name(),
                "set the lag of the consumer group, which was unknown to Redis after entries were \
                 deleted or trimmed by hand"
            );
        }
        Ok(())
    }

    async fn reconcile_waiting_messages(&mut self) -> Result<(), HotError> {
        let outcome = self.hot.queue().reconcile_waiting_messages(&self.cursor).await?;
        self.cursor = outcome.cursor;
        self.deleted += outcome.deleted;
        self.discarded += outcome.discarded;
        // Many entries are found in many rounds.
        if self.deleted > 0 && self.deleted_lines.take().is_some() {
            warn!(
                messages = std::mem::take(&mut self.deleted),
                "entries were deleted from the stream by hand: their messages are lost, unless \
                 `mayfly audit` reports that they were stored"
            );
        }
        if self.discarded > 0 && self.discarded_lines.take().is_some() {
            warn!(
                messages = std::mem::take(&mut self.discarded),
                "entries were discarded from the consumer group by hand before they were stored: \
                 they are processed again"
            );
        }
        Ok(())
    }
}
