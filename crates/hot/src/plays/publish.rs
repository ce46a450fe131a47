//! Publishing counts of changed videos in frames, for the elected publisher.

use mayfly_core::{Timestamp, limits::FRAME_VIDEOS_MAX};

use crate::{
    connection::{HotError, script, unexpected_reply},
    lease::Lease,
    plays::Plays,
};

script!(BEGIN_TICK, include_str!("begin_tick.lua"));
script!(PUBLISH, include_str!("publish_counts.lua"));
script!(FIND_UNSAVED, include_str!("find_unsaved_counts.lua"));
script!(MARK_SAVED, include_str!("mark_counts_saved.lua"));

/// Frames published in one step.
const STEP_FRAMES_MAX: usize = 50;
/// Frames that are kept for a ws-fanout that was disconnected. Approximate: some more may be kept.
pub(super) const FRAMES_RETAINED: usize = 4_096;

/// The outcome of a step of the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountsPublishOutcome {
    /// Frames were published.
    Published {
        /// Their number.
        frames: usize,
        /// Whether the step reached its maximum and more may follow.
        is_full: bool,
    },
    /// Nothing was published: the counts have not been restored since Redis was started.
    Restoring,
    /// Nothing was published: the lease was lost.
    NotLeader,
}

impl Plays<'_> {
    /// Begins a tick unless it has begun: the large counts that changed become due. Returns whether
    /// it began. O(n) for n changed videos.
    pub async fn begin_tick(
        self,
        lease: &Lease,
        tick: Timestamp,
        now: Timestamp,
    ) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let keys = &self.store.keys;
        let mut call = BEGIN_TICK.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.plays_tick());
        call.key(keys.plays_changed_large()).key(keys.plays_publishing());
        call.arg(value).arg(tick.as_millis()).arg(now.as_millis());
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Publishes counts that are small or due, up to the maximum of one step. O(n log m) for n
    /// published videos of m.
    pub async fn publish_counts(self, lease: &Lease) -> Result<CountsPublishOutcome, HotError> {
        let Some(value) = lease.value() else { return Ok(CountsPublishOutcome::NotLeader) };
        let keys = &self.store.keys;
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.ledger()).key(keys.play_counts());
        call.key(keys.plays_published()).key(keys.plays_frames()).key(keys.plays_unsaved());
        call.key(keys.plays_changed_small()).key(keys.plays_publishing());
        call.arg(value).arg(FRAME_VIDEOS_MAX).arg(STEP_FRAMES_MAX).arg(FRAMES_RETAINED);
        let reply: Vec<usize> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        match reply[..] {
            [2, frames] => {
                let is_full = frames >= STEP_FRAMES_MAX;
                Ok(CountsPublishOutcome::Published { frames, is_full })
            }
            [1] => Ok(CountsPublishOutcome::Restoring),
            [0] => Ok(CountsPublishOutcome::NotLeader),
            _ => Err(HotError::Rejected(unexpected_reply("unknown outcome of publish_counts"))),
        }
    }

    /// Returns some of the videos whose published count is not saved in Postgres yet, with that
    /// count. O(n) for n returned videos.
    pub async fn find_unsaved_counts(
        self,
        videos_max: usize,
    ) -> Result<Vec<(String, u64)>, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND_UNSAVED.prepare_invoke();
        call.key(keys.plays_unsaved()).key(keys.plays_published()).arg(videos_max);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Marks published counts as saved, except those of videos that were published again since.
    /// O(n) for n counts.
    pub async fn mark_counts_saved(self, counts: &[(String, u64)]) -> Result<(), HotError> {
        let keys = &self.store.keys;
        let mut call = MARK_SAVED.prepare_invoke();
        call.key(keys.plays_unsaved()).key(keys.plays_published());
        for (video, count) in counts {
            call.arg(video).arg(*count);
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }
}
