//! Reads frames of counts. Frames are entries of a short stream, so that a ws-fanout process that
//! reconnects can read the frames that it missed.

use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::{self, aio::MultiplexedConnection};
use mayfly_core::EntryId;
use mayfly_runtime::LogBudget;
use tracing::warn;

use crate::{
    connection::{HotError, HotStore, millis},
    plays::{Plays, publish::FRAMES_RETAINED},
};

/// The maximum number of log lines per minute about unread frames that may have been trimmed.
const TRIMMED_LINES_PER_MINUTE: u32 = 2;
/// The maximum number of frames in one read.
const READ_FRAMES_MAX: usize = 256;

impl Plays<'_> {
    /// Returns a reader that skips the frames that exist when it first reads from Redis.
    #[must_use]
    pub fn follow_frames(self) -> PlayFrameReader {
        let trimmed = LogBudget::new(TRIMMED_LINES_PER_MINUTE);
        PlayFrameReader { store: self.store.clone(), connection: None, position: None, trimmed }
    }
}

/// A reader that returns each frame once, in order. It skips frames that were trimmed before it
/// could read them.
pub struct PlayFrameReader {
    store: HotStore,
    connection: Option<MultiplexedConnection>,
    /// The ID of the frame after which the next read starts, or `None` before the first read.
    position: Option<EntryId>,
    /// The budget for log lines about unread frames that may have been trimmed.
    trimmed: LogBudget,
}

impl PlayFrameReader {
    /// Waits at most `wait` for the next frames. Returns no frames if none arrives in time. A frame
    /// is a JSON array of videos and counts. After an error, the next call continues from the same
    /// position.
    pub async fn next(&mut self, wait: Duration) -> Result<Vec<Bytes>, HotError> {
        let frames = self.read(wait).await;
        if frames.is_err() {
            self.connection = None;
        }
        frames
    }

    async fn read(&mut self, wait: Duration) -> Result<Vec<Bytes>, HotError> {
        let position = match self.position {
            Some(position) => position,
            None => *self.position.insert(self.find_last().await?),
        };
        let key = self.store.keys.plays_frames();
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(READ_FRAMES_MAX).arg("BLOCK").arg(millis(wait).max(1));
        command.arg("STREAMS").arg(&key).arg(position.to_string());
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.store.connection_for_blocking().await?),
        };
        let reply = command.query_async::<Option<Vec<(String, Vec<Frame>)>>>(connection);
        let reply = tokio::time::timeout(wait + self.store.timeout, reply)
            .await
            .map_err(|_| HotError::Timeout)??;
        let Some((_, frames)) = reply.and_then(|streams| streams.into_iter().next()) else {
            // If Redis has lost its latest frames, new frames can have IDs below `position`.
            let last = self.find_last().await?;
            self.position = Some(position.min(last));
            return Ok(Vec::new());
        };
        if frames.len() == READ_FRAMES_MAX
            && self.is_trimmed(position).await?
            && let Some(suppressed) = self.trimmed.take()
        {
            warn!(
                frames.retained = FRAMES_RETAINED,
                suppressed,
                "play frame reader: frames may have been trimmed before they were read; \
                 clients will receive the count of each affected video after its next change"
            );
        }
        self.position = frames.last().and_then(|(id, _)| id.parse().ok()).or(self.position);
        let counts = frames.into_iter().filter_map(|(_, fields)| {
            let counts = fields.into_iter().find(|(name, _)| name == b"counts");
            counts.map(|(_, json)| Bytes::from(json))
        });
        Ok(counts.collect())
    }

    /// Returns whether frames after `position` may have been trimmed.
    async fn is_trimmed(&self, position: EntryId) -> Result<bool, HotError> {
        let first = self.find_one("XRANGE", "-", "+").await?;
        Ok(position != EntryId::START && first.is_some_and(|first| first > position))
    }

    async fn find_last(&self) -> Result<EntryId, HotError> {
        Ok(self.find_one("XREVRANGE", "+", "-").await?.unwrap_or(EntryId::START))
    }

    /// Returns the ID of the first frame in the reply to a range command, if there is one.
    async fn find_one(
        &self,
        command: &str,
        from: &str,
        to: &str,
    ) -> Result<Option<EntryId>, HotError> {
        let found: Vec<Frame> = self
            .store
            .call(async |connection| {
                redis::cmd(command)
                    .arg(self.store.keys.plays_frames())
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

/// The ID and the fields of a stream entry. Fields are bytes, because another program may have
/// written invalid UTF-8.
type Frame = (String, Vec<(Vec<u8>, Vec<u8>)>);
