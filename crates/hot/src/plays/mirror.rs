//! Mirrors the play counts from Postgres in Redis.

use deadpool_redis::redis;
use mayfly_core::{PlayCount, PublishedCount, limits::IMMEDIATE_COUNTS_BELOW};

use crate::{
    connection::{HotError, script},
    plays::{Plays, VIDEOS_PER_CALL},
    queue::Stream,
};

script!(MIRROR, include_str!("mirror_counts.lua"));
script!(RESTORE, include_str!("restore_counts.lua"));

impl Plays<'_> {
    /// Mirrors play counts from Postgres and marks the increased counts for publishing.
    pub async fn mirror_counts(self, counts: &[PlayCount]) -> Result<(), HotError> {
        let keys = &self.store.keys;
        for chunk in counts.chunks(VIDEOS_PER_CALL) {
            let mut call = MIRROR.prepare_invoke();
            call.key(keys.play_counts()).key(keys.play_updates());
            call.key(keys.plays_changed_small()).key(keys.plays_changed_large());
            call.arg(IMMEDIATE_COUNTS_BELOW);
            for one in chunk {
                call.arg(&one.video_id).arg(one.count).arg(one.updated_at.as_millis());
            }
            self.store.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    /// Returns the run ID of Redis, which changes each time Redis starts.
    pub async fn find_run_id(self) -> Result<String, HotError> {
        let info: redis::InfoDict = self
            .store
            .call(async |connection| redis::cmd("INFO").arg("server").query_async(connection).await)
            .await?;
        Ok(info.get("run_id").unwrap_or_default())
    }

    /// Restores one page of counts. The mirror is complete after the last page. Returns false and
    /// changes nothing if the epoch or the run ID of Redis has changed. O(n log m) for n counts on
    /// the page and m counts in Redis.
    pub async fn restore_counts(
        self,
        epoch: &str,
        run_id: &str,
        counts: &[PublishedCount],
        is_last: bool,
    ) -> Result<bool, HotError> {
        let keys = &self.store.keys;
        let mut call = RESTORE.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).key(keys.play_counts()).key(keys.play_updates());
        call.key(keys.plays_published());
        call.key(keys.plays_changed_small()).key(keys.plays_changed_large());
        call.arg(epoch).arg(run_id).arg(u8::from(is_last)).arg(IMMEDIATE_COUNTS_BELOW);
        for PublishedCount { count, published } in counts {
            call.arg(&count.video_id).arg(count.count).arg(count.updated_at.as_millis());
            call.arg(*published);
        }
        let is_applied: u8 =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(is_applied == 1)
    }

    /// Returns whether all counts from Postgres have been restored since Redis started with this
    /// run ID.
    pub async fn has_all_counts(self, run_id: &str) -> Result<bool, HotError> {
        let restored: Option<String> = self
            .store
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.store.keys.ledger())
                    .arg(Stream::Plays.ledger_field("restored"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(restored.as_deref() == Some(run_id))
    }
}
