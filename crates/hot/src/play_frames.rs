//! Publishing counts: frames of the newest counts of videos that changed, as a short stream that
//! every ws-fanout reads, so that none misses one.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use deadpool_redis::redis::{self, Script, aio::MultiplexedConnection};
use mayfly_core::{EntryId, Timestamp, limits::FRAME_VIDEOS_MAX};
use tracing::warn;

use crate::{
    accept::millis,
    error::{HotError, unexpected_answer},
    lease::Lease,
    pool::Hot,
};

static BEGIN_TICK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/begin_tick.lua")));
static PUBLISH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/publish_counts.lua")));
static FIND_UNSAVED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/find_unsaved.lua")));
static FORGET_UNSAVED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/forget_unsaved.lua")));

/// Frames of one step of the publisher.
const FRAMES_AT_ONCE: usize = 50;
/// Frames that are kept for a ws-fanout that was away; some more may be.
const FRAMES_KEPT: usize = 4_096;
/// Frames that are read at once.
const FRAMES_READ_MAX: usize = 256;

/// What became of a step of the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountsPublished {
    /// So many frames.
    Done {
        /// How many.
        frames: usize,
        /// Whether more may be left.
        is_full: bool,
    },
    /// Not all counts are shown again since Redis was started; what was published of them is not
    /// known, and nothing is.
    Restoring,
    /// The lease is another's by now.
    NotLeading,
}

impl Hot {
    /// Begins the tick of this instant, if nobody has: all that changed and is large is due. Gives
    /// whether it began now.
    pub async fn begin_tick(
        &self,
        lease: &Lease,
        tick: Timestamp,
        now: Timestamp,
    ) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let keys = &self.keys;
        let mut call = BEGIN_TICK.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.plays_tick());
        call.key(keys.plays_due()).key(keys.plays_due_now());
        call.arg(value).arg(tick.as_millis()).arg(now.as_millis());
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Publishes what is due now and what is small, as far as it goes into one step.
    pub async fn publish_counts(&self, lease: &Lease) -> Result<CountsPublished, HotError> {
        let Some(value) = lease.value() else { return Ok(CountsPublished::NotLeading) };
        let keys = &self.keys;
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.ledger()).key(keys.play_counts());
        call.key(keys.plays_published()).key(keys.plays_frames()).key(keys.plays_unsaved());
        call.key(keys.plays_soon()).key(keys.plays_due_now());
        call.arg(value).arg(FRAME_VIDEOS_MAX).arg(FRAMES_AT_ONCE).arg(FRAMES_KEPT);
        let answer: Vec<usize> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        match answer[..] {
            [2, frames] => Ok(CountsPublished::Done { frames, is_full: frames >= FRAMES_AT_ONCE }),
            [1] => Ok(CountsPublished::Restoring),
            [0] => Ok(CountsPublished::NotLeading),
            _ => Err(HotError::Refused(unexpected_answer("an unknown outcome"))),
        }
    }

    /// Some of the videos whose published count is not noted in Postgres yet, with that count.
    pub async fn find_unsaved_counts(
        &self,
        videos_max: usize,
    ) -> Result<Vec<(String, u64)>, HotError> {
        let mut call = FIND_UNSAVED.prepare_invoke();
        call.key(self.keys.plays_unsaved()).key(self.keys.plays_published()).arg(videos_max);
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Forgets that these are not noted, unless another count was published since.
    pub async fn forget_unsaved_counts(&self, counts: &[(String, u64)]) -> Result<(), HotError> {
        let mut call = FORGET_UNSAVED.prepare_invoke();
        call.key(self.keys.plays_unsaved()).key(self.keys.plays_published());
        for (video, count) in counts {
            call.arg(video).arg(*count);
        }
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Reads frames from the present on.
    #[must_use]
    pub fn follow_play_frames(&self) -> PlayFrames {
        PlayFrames { hot: self.clone(), connection: None, at: None }
    }
}

/// The frames as one process reads them: each once, in their order.
pub struct PlayFrames {
    hot: Hot,
    connection: Option<MultiplexedConnection>,
    /// Up to where they were read; nothing before Redis was reached.
    at: Option<EntryId>,
}

impl PlayFrames {
    /// Waits for the next frames, at most so long: JSON arrays of videos and counts. After an error
    /// it goes on where it was.
    pub async fn next(&mut self, wait: Duration) -> Result<Vec<Bytes>, HotError> {
        let read = self.read(wait).await;
        if read.is_err() {
            self.connection = None;
        }
        read
    }

    async fn read(&mut self, wait: Duration) -> Result<Vec<Bytes>, HotError> {
        let at = match self.at {
            Some(at) => at,
            none => *self.at.insert(none.unwrap_or(self.find_last().await?)),
        };
        let key = self.hot.keys.plays_frames();
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(FRAMES_READ_MAX).arg("BLOCK").arg(millis(wait).max(1));
        command.arg("STREAMS").arg(&key).arg(at.to_string());
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.hot.connection_for_blocking().await?),
        };
        let answer = command.query_async::<Option<Vec<(String, Vec<Frame>)>>>(connection);
        let answer = tokio::time::timeout(wait + self.hot.timeout, answer)
            .await
            .map_err(|_| HotError::Timeout)??;
        let Some((_, frames)) = answer.and_then(|streams| streams.into_iter().next()) else {
            // Redis lost its last moments: what comes could seem to be known.
            let last = self.find_last().await?;
            self.at = Some(at.min(last));
            return Ok(Vec::new());
        };
        if frames.len() == FRAMES_READ_MAX && self.is_trimmed(at).await? {
            warn!(frames.kept = FRAMES_KEPT, "frames of counts came faster than they were read");
        }
        self.at = frames.last().and_then(|(id, _)| id.parse().ok()).or(self.at);
        let counts = frames.into_iter().filter_map(|(_, fields)| {
            let counts = fields.into_iter().find(|(name, _)| name == "counts");
            counts.map(|(_, json)| Bytes::from(json))
        });
        Ok(counts.collect())
    }

    /// Whether frames behind a point are no longer kept.
    async fn is_trimmed(&self, at: EntryId) -> Result<bool, HotError> {
        let first = self.find_one("XRANGE", "-", "+").await?;
        Ok(at != EntryId::START && first.is_some_and(|first| first > at))
    }

    /// Where the frames end.
    async fn find_last(&self) -> Result<EntryId, HotError> {
        Ok(self.find_one("XREVRANGE", "+", "-").await?.unwrap_or(EntryId::START))
    }

    /// The first frame in a direction.
    async fn find_one(
        &self,
        command: &str,
        from: &str,
        to: &str,
    ) -> Result<Option<EntryId>, HotError> {
        let found: Vec<Frame> = self
            .hot
            .call(async |connection| {
                redis::cmd(command)
                    .arg(self.hot.keys.plays_frames())
                    .arg(from)
                    .arg(to)
                    .arg("COUNT")
                    .arg(1)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(found.first().and_then(|(id, _)| id.parse().ok()))
    }
}

/// The id of an entry, and its fields.
type Frame = (String, Vec<(String, Vec<u8>)>);
