//! State feeds. Each published state replaces the previous state, and a key stores the latest
//! state.

use bytes::Bytes;
use deadpool_redis::redis;
use mayfly_core::StateFeed;

use crate::{
    connection::{HotError, millis, script},
    lease::Lease,
    metrics as names,
    snapshots::Snapshots,
};

script!(PUBLISH, include_str!("publish_state.lua"));

/// The maximum size of a state, in bytes. Larger values come from another program.
pub(crate) const STATE_BYTES_MAX: usize = 256 * 1024;

impl Snapshots<'_> {
    /// Returns the last published state, if there is one. Treats a key as missing if it has the
    /// wrong type or its value is too large. The next publication overwrites the key.
    pub async fn find_state(self, feed: StateFeed) -> Result<Option<Bytes>, HotError> {
        let key = self.store.keys.state(feed);
        let state: Result<Vec<u8>, HotError> = self
            .store
            .call(async |connection| {
                let mut get = redis::cmd("GETRANGE");
                get.arg(&key).arg(0).arg(STATE_BYTES_MAX);
                get.query_async(connection).await
            })
            .await;
        let state = self.store.skip_unreadable(&key, state)?.unwrap_or_default();
        Ok((1..=STATE_BYTES_MAX).contains(&state.len()).then(|| state.into()))
    }

    /// Stores and publishes a state (JSON) if the lease is held. Returns whether the lease is held.
    /// Unlike [`Self::publish_stats`], also replaces a newer state. Counts a failed publication in
    /// a metric. O(n) for n subscribers.
    pub async fn publish_state(
        self,
        lease: &Lease,
        feed: StateFeed,
        state: &[u8],
    ) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let keys = &self.store.keys;
        let ttl_ms = feed.ttl().map_or(0, millis);
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.state(feed));
        call.arg(value).arg(state).arg(keys.feed(feed.feed())).arg(ttl_ms);
        let reply: Vec<u8> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        if let [1, failed] = reply[..] {
            metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(u64::from(failed));
            return Ok(true);
        }
        Ok(false)
    }
}
