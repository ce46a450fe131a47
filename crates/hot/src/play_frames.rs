//! Publishing counts: frames of the newest counts of videos that changed, as a short stream that
//! every ws-fanout reads, so that none misses one.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use deadpool_redis::redis::{self, Script, Value, aio::MultiplexedConnection};
use mayfly_core::{EntryId, Timestamp, limits::FRAME_VIDEOS_MAX};

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

/// Frames of one step of the publisher.
const FRAMES_AT_ONCE: usize = 50;
/// Frames that are kept for a ws-fanout that was away; some more may be.
const FRAMES_KEPT: usize = 4_096;
/// Frames that are read at once.
const FRAMES_READ_MAX: usize = 256;

/// What became of a step of the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountsPublished {
    /// These videos, with their counts, in so many frames; full, where more may be left.
    Done {
        /// Videos and their counts.
        counts: Vec<(String, u64)>,
        /// How many frames they went in.
        frames: usize,
        /// Whether more may be left.
        is_full: bool,
    },
    /// Not all counts are shown again since Redis lost its data; what was published of them is not
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
        call.key(keys.plays_published()).key(keys.plays_frames());
        call.key(keys.plays_soon()).key(keys.plays_due_now());
        call.arg(value).arg(FRAME_VIDEOS_MAX).arg(FRAMES_AT_ONCE).arg(FRAMES_KEPT);
        let answer: Vec<Value> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        match &answer[..] {
            [Value::Int(2), Value::Int(frames), news @ ..] => {
                let counts = news.chunks_exact(2).map(|pair| {
                    let video = redis::from_redis_value_ref(&pair[0])?;
                    Ok((video, redis::from_redis_value_ref(&pair[1])?))
                });
                let counts: Result<_, redis::ParsingError> = counts.collect();
                let frames = usize::try_from(*frames).unwrap_or(0);
                Ok(CountsPublished::Done {
                    counts: counts.map_err(|error| HotError::Refused(error.into()))?,
                    frames,
                    is_full: frames >= FRAMES_AT_ONCE,
                })
            }
            [Value::Int(1)] => Ok(CountsPublished::Restoring),
            [Value::Int(0)] => Ok(CountsPublished::NotLeading),
            _ => Err(HotError::Refused(unexpected_answer("an unknown outcome"))),
        }
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
            // Redis was emptied, and its clock went back: what comes would seem to be known.
            let last = self.find_last().await?;
            if last < at {
                self.at = Some(EntryId::START);
            }
            return Ok(Vec::new());
        };
        self.at = frames.last().and_then(|(id, _)| id.parse().ok()).or(self.at);
        let counts = frames.into_iter().filter_map(|(_, fields)| {
            let counts = fields.into_iter().find(|(name, _)| name == "counts");
            counts.map(|(_, json)| Bytes::from(json))
        });
        Ok(counts.collect())
    }

    /// Where the frames end.
    async fn find_last(&self) -> Result<EntryId, HotError> {
        let last: Vec<Frame> = self
            .hot
            .call(async |connection| {
                redis::cmd("XREVRANGE")
                    .arg(self.hot.keys.plays_frames())
                    .arg("+")
                    .arg("-")
                    .arg("COUNT")
                    .arg(1)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(last.first().and_then(|(id, _)| id.parse().ok()).unwrap_or(EntryId::START))
    }
}

/// The id of an entry, and its fields.
type Frame = (String, Vec<(String, Vec<u8>)>);
