//! The newest frame of a state feed.

use bytes::Bytes;
use mayfly_core::frame::{write_pulse, write_stats};
use mayfly_hot::StateFeed;

use super::encoding::{EncodedFrame, Encoding};
use crate::subscription::Feed;

/// The newest frame of a feed that carries a single state.
pub(crate) struct StateFrame {
    pub(crate) feed: Feed,
    encoded: EncodedFrame,
}

impl StateFrame {
    pub(crate) fn encode(feed: StateFeed, json: &[u8]) -> Self {
        let mut frame = Vec::new();
        let feed = match feed {
            StateFeed::Stats => {
                write_stats(&mut frame, json);
                Feed::Stats
            }
            StateFeed::Pulse => {
                write_pulse(&mut frame, json);
                Feed::Pulse
            }
        };
        Self { feed, encoded: EncodedFrame::from_json(&frame) }
    }

    /// Returns the frame, shared by all connections with this encoding.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        self.encoded.bytes(encoding)
    }
}
