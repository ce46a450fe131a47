//! Cleans the streams. Only one process, the leader, does this.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mayfly_hot::{HotError, HotStore, Lease, Role, Stream};
use mayfly_runtime::{LogBudget, Settings};
use tracing::{debug, info, warn};

/// The name of the lease.
const JOB: &str = "maintenance";
/// The lifetime of the lease. If the leader crashes, another process takes over once the lease has
/// expired.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// The maximum number of consumer groups of other programs that are logged.
const REPORTED_GROUPS_MAX: usize = 100;
/// The maximum number of log lines per minute about deleted entries. The same limit applies
/// separately to log lines about discarded entries.
const LINES_PER_MINUTE: u32 = 1;

/// A cleaner that trims the streams, removes the consumers of workers that have exited, and repairs
/// the effects of changes made by hand. It runs while this process holds the lease. Every step is
/// idempotent; the lease only limits the load on Redis.
pub struct StreamCleaner {
    hot: HotStore,
    settings: Arc<Settings>,
    lease: Lease,
    /// The cursor from which the comparison of waiting messages with the queue continues.
    cursor: String,
    /// The consumer groups of other programs that have already been logged, by stream.
    reported_groups: HashSet<(Stream, String)>,
    /// The number of messages to log because their entries were deleted by hand.
    deleted: u64,
    /// The number of messages to log because their entries were discarded by hand.
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

    /// Acquires or renews the lease. If this process is the leader, runs all steps of the round,
    /// even if one fails, and returns the first error.
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

    /// Releases the lease, so that another process can take over without waiting for the lease to
    /// expire.
    pub async fn release(&mut self) {
        if let Err(error) = self.lease.release().await {
            debug!(job = JOB, %error, "cannot release the lease; it will expire on its own");
        }
    }

    async fn trim(&mut self, stream: Stream) -> Result<(), HotError> {
        let queue = &self.settings.queue;
        let window = match stream {
            Stream::Messages => queue.resume_window,
            // Clients cannot resume from a position in the play stream.
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
                    "entries are trimmed, although a consumer group of another program has not \
                     acknowledged them; remove the group with XGROUP DESTROY if it is unused"
                );
            }
        }
        Ok(())
    }

    async fn reconcile_lag(&self, stream: Stream) -> Result<(), HotError> {
        if self.hot.queue().reconcile_lag(stream).await? {
            info!(
                stream = stream.name(),
                "corrected the lag of the consumer group after entries were deleted or trimmed by \
                 hand"
            );
        }
        Ok(())
    }

    async fn reconcile_waiting_messages(&mut self) -> Result<(), HotError> {
        let outcome = self.hot.queue().reconcile_waiting_messages(&self.cursor).await?;
        self.cursor = outcome.cursor;
        self.deleted += outcome.deleted;
        self.discarded += outcome.discarded;
        // A large change is found over many rounds, so each log line covers several rounds.
        if self.deleted > 0 && self.deleted_lines.take().is_some() {
            warn!(
                messages = std::mem::take(&mut self.deleted),
                "entries were deleted from the stream by hand; their messages are lost, unless \
                 `mayfly audit` reports that they were stored"
            );
        }
        if self.discarded > 0 && self.discarded_lines.take().is_some() {
            warn!(
                messages = std::mem::take(&mut self.discarded),
                "entries were discarded from the consumer group by hand before they were stored; \
                 they will be processed again"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_stores::TestStores;

    #[tokio::test]
    async fn only_the_leader_trims() {
        let stores = TestStores::without_postgres().await;
        let stream = Stream::Messages;
        let (key, lease) = (stores.hot.keys().stream(stream), stores.hot.keys().lease(JOB));
        // Entries before the resume window, which the workers have acknowledged.
        let append = "for id = 1, 300 do redis.call('XADD', KEYS[1], id .. '-0', 'kind', 'x') end";
        stores.query::<()>(&["EVAL", append, "1", &key]).await;
        stores.query::<()>(&["XGROUP", "CREATE", &key, stream.group(), "$"]).await;
        let count = async || stores.query::<u64>(&["XLEN", &key]).await;
        let mut cleaner = StreamCleaner::new(stores.hot.clone(), Arc::new(stores.settings.clone()));
        stores.query::<()>(&["SET", &lease, "1:another process", "PX", "3600000"]).await;
        cleaner.clean(true).await.expect("Redis responds");
        assert_eq!(count().await, 300, "another process is the leader");
        stores.query::<()>(&["DEL", &lease]).await;
        cleaner.clean(true).await.expect("Redis responds");
        assert!(count().await < 300, "this process is the leader");
    }
}
