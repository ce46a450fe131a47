//! Publishing counts of changed videos in frames, for the elected publisher.

use deadpool_redis::redis::Value;
use std::time::Duration;

use mayfly_core::limits::FRAME_VIDEOS_MAX;

use crate::{
    connection::{HotError, millis, script, unexpected_reply},
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

/// The outcome of beginning a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickOutcome {
    /// The tick began: the large counts that changed are due.
    Begun,
    /// Nothing changed: the tick had begun before, or the lease was lost.
    Unchanged,
    /// Nothing changed: counts of an earlier tick have to be published first.
    Waiting,
}

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
    /// Begins the current tick by the clock of Redis, one per `interval`, unless it has begun: the
    /// large counts that changed become due. O(1).
    pub async fn begin_tick(
        self,
        lease: &Lease,
        interval: Duration,
    ) -> Result<TickOutcome, HotError> {
        let Some(value) = lease.value() else { return Ok(TickOutcome::Unchanged) };
        let keys = &self.store.keys;
        let mut call = BEGIN_TICK.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.plays_tick());
        call.key(keys.plays_changed_large()).key(keys.plays_publishing());
        call.arg(value).arg(millis(interval));
        let reply: u8 =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(match reply {
            1 => TickOutcome::Begun,
            2 => TickOutcome::Waiting,
            _ => TickOutcome::Unchanged,
        })
    }

    /// Publishes counts that are small or due, up to the maximum of one step. If the key of one of
    /// these sets has another type, the other set is published. O(n log m) for n published videos
    /// of m.
    pub async fn publish_counts(self, lease: &Lease) -> Result<CountsPublishOutcome, HotError> {
        let Some(value) = lease.value() else { return Ok(CountsPublishOutcome::NotLeader) };
        let keys = &self.store.keys;
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.ledger()).key(keys.play_counts());
        call.key(keys.plays_published()).key(keys.plays_frames()).key(keys.plays_unsaved());
        call.key(keys.plays_changed_small()).key(keys.plays_publishing());
        call.arg(value).arg(FRAME_VIDEOS_MAX).arg(STEP_FRAMES_MAX).arg(FRAMES_RETAINED);
        let reply: Vec<Value> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        match &reply[..] {
            [Value::Int(2), Value::Int(frames), unreadable @ ..] => {
                self.store.record_unreadable(unreadable);
                let frames = usize::try_from(*frames).unwrap_or(0);
                let is_full = frames >= STEP_FRAMES_MAX;
                Ok(CountsPublishOutcome::Published { frames, is_full })
            }
            [Value::Int(1)] => Ok(CountsPublishOutcome::Restoring),
            [Value::Int(0)] => Ok(CountsPublishOutcome::NotLeader),
            _ => Err(HotError::Rejected(unexpected_reply("unknown outcome of publish_counts"))),
        }
    }

    /// Returns some of the videos whose published count is not saved in Postgres yet, with that
    /// count. A count that is not a number is skipped. O(n) for n returned videos.
    pub async fn find_unsaved_counts(
        self,
        videos_max: usize,
    ) -> Result<Vec<(String, u64)>, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND_UNSAVED.prepare_invoke();
        call.key(keys.plays_unsaved()).key(keys.plays_published()).arg(videos_max);
        let found: Vec<(Vec<u8>, Vec<u8>)> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        let parse = |(video, count): (Vec<u8>, Vec<u8>)| {
            let parsed = parse_published(&video, &count);
            if parsed.is_none() {
                let video = String::from_utf8_lossy(&video);
                let item = format!("published count of the video {video}");
                self.store.unreadable_keys.record_failure(item, "it is not a number");
            }
            parsed
        };
        Ok(found.into_iter().filter_map(parse).collect())
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

fn parse_published(video: &[u8], count: &[u8]) -> Option<(String, u64)> {
    let count = str::from_utf8(count).ok()?.parse().ok()?;
    Some((str::from_utf8(video).ok()?.to_owned(), count))
}
