//! Feeds that carry state: what is published replaces what was published before, and the last of it
//! lies under a key, for who comes late or missed it.

use bytes::Bytes;
use deadpool_redis::redis;

use crate::{error::HotError, keys::Keys, pool::Hot};

/// Bytes of a state. Whatever is longer is none of ours.
pub(crate) const STATE_BYTES_MAX: usize = 256 * 1024;

/// A feed that carries state, as one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateFeed {
    /// The statistics of the last minute.
    Stats,
    /// The pulse.
    Pulse,
}

impl StateFeed {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stats, Self::Pulse];

    pub(crate) fn channel(self, keys: &Keys) -> String {
        match self {
            Self::Stats => keys.feed_stats(),
            Self::Pulse => keys.feed_pulse(),
        }
    }

    fn key(self, keys: &Keys) -> String {
        match self {
            Self::Stats => keys.stats(),
            Self::Pulse => keys.pulse(),
        }
    }
}

impl Hot {
    /// The state as it was published last, if it ever was.
    pub async fn find_state(&self, feed: StateFeed) -> Result<Option<Bytes>, HotError> {
        let key = feed.key(&self.keys);
        let state: Vec<u8> = self
            .call(async |connection| {
                let mut get = redis::cmd("GETRANGE");
                get.arg(key).arg(0).arg(STATE_BYTES_MAX);
                get.query_async(connection).await
            })
            .await?;
        Ok((1..=STATE_BYTES_MAX).contains(&state.len()).then(|| state.into()))
    }
}
