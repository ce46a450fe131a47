//! Maintenance of the queues: removing idle consumers, and repairing changes made by hand.

use std::time::Duration;

use crate::{
    connection::{HotError, millis, script},
    queue::{Queue, Stream},
};

script!(
    RECONCILE_MESSAGES,
    "#!lua flags=allow-oom\n",
    include_str!("groups.lua"),
    include_str!("reconcile_waiting_messages.lua"),
);
script!(
    RECONCILE_PLAYS,
    "#!lua flags=allow-oom\n",
    include_str!("groups.lua"),
    include_str!("reconcile_waiting_plays.lua"),
);
script!(
    RECONCILE_LAG,
    "#!lua flags=allow-oom\n",
    include_str!("groups.lua"),
    include_str!("reconcile_lag.lua"),
);
script!(REMOVE_CONSUMERS, include_str!("remove_idle_consumers.lua"));

/// A consumer without pending entries is removed when it has been idle for longer.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(600);
/// References to waiting messages that one call compares.
const REFERENCES_PER_CALL: usize = 250;
/// The consumer of entries that were discarded from their group, until a worker claims them.
const DISCARDED_CONSUMER: &str = "discarded";
/// The idle time of such entries. It is longer than any `queue.claim_after`, so the next worker
/// that searches for abandoned entries claims them.
const DISCARDED_IDLE: Duration = Duration::from_secs(24 * 3_600);

/// The outcome of comparing waiting messages with the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledMessages {
    /// The cursor for the next call.
    pub cursor: String,
    /// Messages whose entries were deleted from the stream before they were processed.
    pub deleted: u64,
    /// Messages whose entries were discarded from the group. They are pending again.
    pub discarded: u64,
}

impl Queue<'_> {
    /// Compares some of the waiting messages with the queue, beginning at a cursor, which is `0` at
    /// first. Messages whose entries were deleted by hand cease to be waiting; entries that were
    /// discarded from the group, as `XGROUP DELCONSUMER` does, become pending again.
    /// O(log n) for n entries.
    pub async fn reconcile_waiting_messages(
        self,
        cursor: &str,
    ) -> Result<ReconciledMessages, HotError> {
        let (stream, keys) = (Stream::Messages, &self.store.keys);
        let mut call = RECONCILE_MESSAGES.prepare_invoke();
        call.key(keys.waiting()).key(keys.stream(stream));
        call.arg(stream.group()).arg(cursor).arg(REFERENCES_PER_CALL);
        call.arg(DISCARDED_CONSUMER).arg(millis(DISCARDED_IDLE));
        let (cursor, deleted, discarded) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(ReconciledMessages { cursor, deleted, discarded })
    }

    /// Resets the number of waiting plays to zero if the queue is empty. O(g) for g consumer
    /// groups.
    pub async fn reconcile_waiting_plays(self) -> Result<(), HotError> {
        let (stream, keys) = (Stream::Plays, &self.store.keys);
        let mut call = RECONCILE_PLAYS.prepare_invoke();
        call.key(keys.stream(stream)).key(keys.ledger()).arg(stream.group());
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Sets the lag that Redis reports where it is unknown or wrong, because entries were deleted or
    /// trimmed by hand: exactly if all entries were read, else to an estimate. Autoscalers read it.
    /// Returns whether it was set. O(log n) for n entries.
    pub async fn reconcile_lag(self, stream: Stream) -> Result<bool, HotError> {
        let mut call = RECONCILE_LAG.prepare_invoke();
        self.add_queue_arguments(&mut call, stream);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Removes consumers of workers that no longer run. Returns their number. O(c) for c consumers.
    pub async fn remove_idle_consumers(self, stream: Stream) -> Result<u64, HotError> {
        let mut call = REMOVE_CONSUMERS.prepare_invoke();
        call.key(self.store.keys.stream(stream)).arg(stream.group());
        call.arg(millis(CONSUMER_IDLE_MAX));
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}
