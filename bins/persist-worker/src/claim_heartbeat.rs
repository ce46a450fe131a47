//! The heartbeat that keeps other workers from claiming entries in progress.

use mayfly_hot::{HotError, HotStore, Stream};

/// The entries that a consumer processes.
pub struct ClaimHeartbeat<'a> {
    stream: Stream,
    consumer: &'a str,
    entry_ids: Vec<&'a str>,
}

impl<'a> ClaimHeartbeat<'a> {
    /// Creates a heartbeat of a consumer without entries.
    pub fn new(stream: Stream, consumer: &'a str) -> Self {
        Self { stream, consumer, entry_ids: Vec::new() }
    }

    /// Returns the heartbeat of the same consumer for other entries.
    pub fn with_entries<'b>(&'b self, entry_ids: Vec<&'b str>) -> ClaimHeartbeat<'b> {
        ClaimHeartbeat { stream: self.stream, consumer: self.consumer, entry_ids }
    }

    /// Resets the idle time of the entries, as XAUTOCLAIM sees it.
    pub async fn send(&self, hot: &HotStore) -> Result<(), HotError> {
        hot.queue().reset_idle(self.stream, self.consumer, &self.entry_ids).await
    }
}
