//! Publishes changed play counts in frames, for the elected publisher. Small counts, which are less
//! than [`IMMEDIATE_COUNTS_BELOW`](mayfly_core::limits::IMMEDIATE_COUNTS_BELOW), are published
//! without delay. Large counts are published at most once per tick.

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

/// The maximum number of frames published in one step.
const STEP_FRAMES_MAX: usize = 50;
/// The number of frames retained for ws-fanout processes that reconnect. Redis can retain a few
/// more.
pub(super) const FRAMES_RETAINED: usize = 4_096;

/// The outcome of [`Plays::begin_tick`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickOutcome {
    /// The tick began, so the changed large counts are due.
    Begun,
    /// Nothing changed, because the tick had already begun or the lease was lost.
    Unchanged,
    /// Nothing changed, because counts from an earlier tick must be published first.
    Waiting,
}

/// The outcome of [`Plays::publish_counts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountsPublishOutcome {
    /// The step was completed.
    Published {
        /// The number of published frames, which is 0 if there was nothing to publish.
        frames: usize,
        /// Whether the step published its maximum number of frames. If so, more counts may be due.
        is_full: bool,
    },
    /// Nothing was published, because not all counts have been restored since Redis started.
    Restoring,
    /// Nothing was published, because the lease was lost.
    NotLeader,
}

impl Plays<'_> {
    /// Begins the current tick, which makes the changed large counts due, unless the tick has
    /// already begun or counts from an earlier tick have not been published yet. The Redis clock
    /// has one tick per `interval`. A key of the wrong type does not stop later ticks. O(1).
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

    /// Publishes the changed small counts and the due large counts in one step of limited size. If
    /// the key of one of the two sets of videos has the wrong type, still publishes the counts of
    /// the other set. O(n log m) for n videos that the step examines and m counts.
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

    /// Returns at most `videos_max` videos with published counts that have not been saved in
    /// Postgres yet, and these counts. Skips a video if its ID is not valid UTF-8 or its count is
    /// not a number. O(n) for n returned videos.
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
                let error = "the ID is not valid UTF-8 or the count is not a number";
                self.store.unreadable_keys.record_failure(item, error);
            }
            parsed
        };
        Ok(found.into_iter().filter_map(parse).collect())
    }

    /// Marks published counts as saved in Postgres. Skips a video if its published count differs
    /// from the saved count. O(n) for n counts.
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
