//! Frames of the state feeds (`stats` and `pulse`).

use bytes::Bytes;
use mayfly_core::{Feed, StateFeed};

use super::encoding::{EncodedFrame, Encoding};
use crate::hub::ConnectionMemory;

/// A frame that contains the complete state of a feed.
pub(crate) struct StateFrame {
    pub(crate) feed: Feed,
    encoded: EncodedFrame,
}

impl StateFrame {
    pub(crate) fn encode(feed: StateFeed, json: &[u8], memory: &ConnectionMemory) -> Self {
        let mut frame = Vec::new();
        feed.write_frame(&mut frame, json);
        Self { feed: feed.feed(), encoded: EncodedFrame::from_json(&frame, memory) }
    }

    /// Returns the encoded frame, which all connections with this encoding share.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        self.encoded.bytes(encoding)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.encoded.size_bytes()
    }
}
