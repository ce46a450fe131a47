//! Reading frames of counts. They are entries of a short stream, so that no ws-fanout misses one.

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

/// Reads before which frames were trimmed are logged individually up to this number per minute.
const TRIMMED_LINES_PER_MINUTE: u32 = 2;
/// Frames in one read.
const READ_FRAMES_MAX: usize = 256;

impl Plays<'_> {
    /// Returns a reader that starts at the end of the frames.
    #[must_use]
    pub fn follow_frames(self) -> PlayFrameReader {
        let trimmed = LogBudget::new(TRIMMED_LINES_PER_MINUTE);
        PlayFrameReader { store: self.store.clone(), connection: None, position: None, trimmed }
    }
}

/// Reads each frame once, in order.
pub struct PlayFrameReader {
    store: HotStore,
    connection: Option<MultiplexedConnection>,
    /// The last frame that was read; `None` until Redis was reached.
    position: Option<EntryId>,
    /// Reads before which frames were trimmed.
    trimmed: LogBudget,
}

impl PlayFrameReader {
    /// Waits for the next frames for at most `wait`. A frame is a JSON array of videos and counts.
    /// After an error, the next call continues from the same position.
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
            // If Redis lost its last frames, new ones may have IDs before the position.
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
                "play frame reader: frames were trimmed before they were read; \
                 clients receive these counts with the next change"
            );
        }
        self.position = frames.last().and_then(|(id, _)| id.parse().ok()).or(self.position);
        let counts = frames.into_iter().filter_map(|(_, fields)| {
            let counts = fields.into_iter().find(|(name, _)| name == b"counts");
            counts.map(|(_, json)| Bytes::from(json))
        });
        Ok(counts.collect())
    }

    /// Returns whether frames after a position have been trimmed.
    async fn is_trimmed(&self, position: EntryId) -> Result<bool, HotError> {
        let first = self.find_one("XRANGE", "-", "+").await?;
        Ok(position != EntryId::START && first.is_some_and(|first| first > position))
    }

    async fn find_last(&self) -> Result<EntryId, HotError> {
        Ok(self.find_one("XREVRANGE", "+", "-").await?.unwrap_or(EntryId::START))
    }

    /// Returns the first frame of a range.
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

/// The ID and the fields of a stream entry. Another program may have written any bytes.
type Frame = (String, Vec<(Vec<u8>, Vec<u8>)>);
