//! Publishes the statistics.

use mayfly_core::{Feed, StateFeed, Timestamp};

use crate::{
    connection::{HotError, script},
    lease::Lease,
    snapshots::{CLOCK_SKEW_MAX, PublishOutcome, Snapshots},
};

script!(PUBLISH, include_str!("publish_stats.lua"));

impl Snapshots<'_> {
    /// Stores and publishes the statistics (JSON) if the lease is held, unless the stored
    /// statistics are at least as new. O(b + n) for b bytes of statistics and n subscribers.
    pub async fn publish_stats(
        self,
        lease: &Lease,
        stats: &[u8],
        generated_at: Timestamp,
    ) -> Result<PublishOutcome, HotError> {
        let Some(value) = lease.value() else { return Ok(PublishOutcome::NotLeader) };
        let keys = &self.store.keys;
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.state(StateFeed::Stats));
        call.arg(value).arg(stats).arg(generated_at.to_string());
        call.arg(generated_at.plus(CLOCK_SKEW_MAX).to_string()).arg(keys.feed(Feed::Stats));
        let reply: Vec<u8> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(PublishOutcome::from_reply(&reply))
    }
}
