//! The newest frame of a state feed.

use bytes::Bytes;
use mayfly_core::{Feed, StateFeed};

use super::encoding::{EncodedFrame, Encoding};

/// The newest frame of a feed that carries a single state.
pub(crate) struct StateFrame {
    pub(crate) feed: Feed,
    encoded: EncodedFrame,
}

impl StateFrame {
    pub(crate) fn encode(feed: StateFeed, json: &[u8]) -> Self {
        let mut frame = Vec::new();
        feed.write_frame(&mut frame, json);
        Self { feed: feed.feed(), encoded: EncodedFrame::from_json(&frame) }
    }

    /// Returns the frame, shared by all connections with this encoding.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        self.encoded.bytes(encoding)
    }
}
