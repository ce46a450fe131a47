//! The heartbeat that keeps other workers from claiming entries in progress.

use mayfly_hot::{HotError, HotStore, Stream};

/// The heartbeat that a consumer sends for the entries that it processes.
pub struct ClaimHeartbeat<'a> {
    stream: Stream,
    consumer: &'a str,
    entry_ids: Vec<&'a str>,
}

impl<'a> ClaimHeartbeat<'a> {
    /// Creates a heartbeat without entries.
    pub fn new(stream: Stream, consumer: &'a str) -> Self {
        Self { stream, consumer, entry_ids: Vec::new() }
    }

    /// Returns a heartbeat of the same consumer for `entry_ids`.
    pub fn with_entries<'b>(&'b self, entry_ids: Vec<&'b str>) -> ClaimHeartbeat<'b> {
        ClaimHeartbeat { stream: self.stream, consumer: self.consumer, entry_ids }
    }

    /// Resets the idle time of the entries, so that XAUTOCLAIM does not return them.
    pub async fn send(&self, hot: &HotStore) -> Result<(), HotError> {
        hot.queue().reset_idle(self.stream, self.consumer, &self.entry_ids).await
    }
}
