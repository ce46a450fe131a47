//! State feeds: each publication replaces the one before, and the last one is stored under a key.

use bytes::Bytes;
use deadpool_redis::redis;

use crate::{connection::HotError, keys::Keys, snapshots::Snapshots};

/// The maximum size of a state. Longer values were written by another program.
pub(crate) const STATE_BYTES_MAX: usize = 256 * 1024;

/// A feed of states, each a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateFeed {
    /// The statistics of the last minute.
    Stats,
    /// The pulse.
    Pulse,
}

impl StateFeed {
    /// All state feeds.
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

impl Snapshots<'_> {
    /// Returns the state that was last published, if there is one.
    pub async fn find_state(self, feed: StateFeed) -> Result<Option<Bytes>, HotError> {
        let key = feed.key(&self.store.keys);
        let state: Vec<u8> = self
            .store
            .call(async |connection| {
                let mut get = redis::cmd("GETRANGE");
                get.arg(key).arg(0).arg(STATE_BYTES_MAX);
                get.query_async(connection).await
            })
            .await?;
        Ok((1..=STATE_BYTES_MAX).contains(&state.len()).then(|| state.into()))
    }
}
