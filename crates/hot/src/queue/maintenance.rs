//! Maintains the queues: removes idle consumers, and repairs the effects of changes made by hand.

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

/// The idle time after which a consumer without pending entries is removed.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(600);
/// The approximate number of waiting messages that one call compares with the queue.
const REFERENCES_PER_CALL: usize = 250;
/// The consumer that owns entries that were discarded from the group, until a worker claims them.
const DISCARDED_CONSUMER: &str = "discarded";
/// The idle time that is assigned to discarded entries: twenty years. `queue.claim_after` is at
/// most ten years, so the next worker that searches for abandoned entries claims them.
const DISCARDED_IDLE: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);

/// The outcome of [`Queue::reconcile_waiting_messages`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledMessages {
    /// The cursor for the next call.
    pub cursor: String,
    /// The number of messages that were removed from the waiting messages.
    pub deleted: u64,
    /// The number of entries that were discarded from the group and that the call made pending
    /// again.
    pub discarded: u64,
}

impl Queue<'_> {
    /// Compares some of the waiting messages with the queue, starting at `cursor`, which is `0` for
    /// the first call. Removes a message from the waiting messages if its entry was deleted by hand
    /// or its entry ID is malformed. Makes an entry pending again if the entry was discarded from
    /// the group, for example by `XGROUP DELCONSUMER`. O(log n + g) for n entries and g consumer
    /// groups.
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

    /// Resets the number of waiting plays to zero if all entries have been acknowledged. O(log n +
    /// g) for n entries and g consumer groups.
    pub async fn reconcile_waiting_plays(self) -> Result<(), HotError> {
        let (stream, keys) = (Stream::Plays, &self.store.keys);
        let mut call = RECONCILE_PLAYS.prepare_invoke();
        call.key(keys.stream(stream)).key(keys.ledger()).arg(stream.group());
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Corrects the lag of the workers' group after entries have been deleted or trimmed by hand.
    /// Autoscalers read this lag from Redis. Sets the lag to zero if all entries have been
    /// delivered. Sets an unknown lag to an estimate once the group has passed all deleted entries.
    /// Returns whether the lag was set. O(log n + g) for n entries and g consumer groups.
    pub async fn reconcile_lag(self, stream: Stream) -> Result<bool, HotError> {
        let mut call = RECONCILE_LAG.prepare_invoke();
        self.add_queue_arguments(&mut call, stream);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Removes the consumers of stopped workers: consumers that have no pending entries and have
    /// been idle for more than ten minutes. Returns the number of removed consumers. O(c) for c
    /// consumers.
    pub async fn remove_idle_consumers(self, stream: Stream) -> Result<u64, HotError> {
        let mut call = REMOVE_CONSUMERS.prepare_invoke();
        call.key(self.store.keys.stream(stream)).arg(stream.group());
        call.arg(millis(CONSUMER_IDLE_MAX));
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}
