//! Maintenance of the queues: trimming, removing idle consumers, reconciling counts.

use std::time::Duration;

use deadpool_redis::redis;
use mayfly_core::Timestamp;

use crate::{
    connection::{HotError, millis, script},
    queue::{Queue, Stream},
};

script!(TRIM, include_str!("trim_stream.lua"));
script!(RECONCILE_WAITING, include_str!("reconcile_waiting_plays.lua"));
script!(REMOVE_CONSUMERS, include_str!("remove_idle_consumers.lua"));

/// A consumer without pending entries is removed when it has been idle for longer.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(600);

impl Queue<'_> {
    /// Trims entries that are acknowledged and older than the resume window. The window is
    /// shortened where the stream exceeds `bytes_max`, and ignored where Redis is nearly full.
    /// Returns the number of trimmed entries. O(n) for n trimmed entries.
    pub async fn trim(
        self,
        stream: Stream,
        window: Duration,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<u64, HotError> {
        let window = if self.is_nearly_full().await? { Duration::ZERO } else { window };
        let keep_from = Timestamp::from_millis(0)
            .plus(now.since(Timestamp::from_millis(0)).saturating_sub(window));
        let mut call = TRIM.prepare_invoke();
        call.key(self.store.keys.stream(stream)).arg(keep_from.as_millis()).arg(bytes_max);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    async fn is_nearly_full(self) -> Result<bool, HotError> {
        let info: redis::InfoDict = self
            .store
            .call(async |connection| redis::cmd("INFO").arg("memory").query_async(connection).await)
            .await?;
        let used: u64 = info.get("used_memory").unwrap_or(0);
        let max: u64 = info.get("maxmemory").unwrap_or(0);
        Ok(max > 0 && used > max / 10 * 9)
    }

    /// Resets the number of waiting plays to zero if the queue is empty. O(g) for g consumer
    /// groups.
    pub async fn reconcile_waiting_plays(self) -> Result<(), HotError> {
        let (stream, keys) = (Stream::Plays, &self.store.keys);
        let mut call = RECONCILE_WAITING.prepare_invoke();
        call.key(keys.stream(stream)).key(keys.ledger()).arg(stream.group());
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Removes consumers of workers that no longer run. Returns their number. O(c) for c consumers.
    pub async fn remove_idle_consumers(self, stream: Stream) -> Result<u64, HotError> {
        let mut call = REMOVE_CONSUMERS.prepare_invoke();
        call.key(self.store.keys.stream(stream)).arg(stream.group());
        call.arg(millis(CONSUMER_IDLE_MAX));
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}
