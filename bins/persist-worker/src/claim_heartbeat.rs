//! The heartbeat that keeps other workers from claiming entries in progress.

use std::{cell::Cell, time::Duration};

use mayfly_hot::{HotError, HotStore, Stream};
use tokio::time::Instant;

/// The heartbeat that a consumer sends for the entries that it processes.
pub struct ClaimHeartbeat<'a> {
    stream: Stream,
    consumer: &'a str,
    entry_ids: Vec<&'a str>,
    /// The time when the heartbeat was created or last sent.
    sent_at: Cell<Instant>,
}

impl<'a> ClaimHeartbeat<'a> {
    /// Creates a heartbeat without entries.
    pub fn new(stream: Stream, consumer: &'a str) -> Self {
        Self { stream, consumer, entry_ids: Vec::new(), sent_at: Cell::new(Instant::now()) }
    }

    /// Returns a heartbeat of the same consumer for `entry_ids`.
    pub fn with_entries<'b>(&'b self, entry_ids: Vec<&'b str>) -> ClaimHeartbeat<'b> {
        ClaimHeartbeat { entry_ids, ..ClaimHeartbeat::new(self.stream, self.consumer) }
    }

    /// Returns whether more than `interval` has passed since the heartbeat was created or sent.
    pub fn is_due(&self, interval: Duration) -> bool {
        self.sent_at.get().elapsed() > interval
    }

    /// Resets the idle time of the entries, so that XAUTOCLAIM does not return them. Has no effect
    /// on entries that have been acknowledged.
    pub async fn send(&self, hot: &HotStore) -> Result<(), HotError> {
        self.sent_at.set(Instant::now());
        hot.queue().reset_idle(self.stream, self.consumer, &self.entry_ids).await
    }
}
