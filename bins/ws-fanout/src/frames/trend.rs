//! The newest trend frame of a host (feed `rising`).

use bytes::Bytes;
use mayfly_core::{Host, Timestamp, TrendSnapshot, frame::ServerFrame};

use super::encoding::{EncodedFrame, Encoding};
use crate::hub::ConnectionMemory;

/// The trending pages of one host.
pub(crate) struct TrendFrame {
    pub(crate) host: Host,
    pub(crate) sampled_at: Timestamp,
    /// Orders the frames of a host: the greater number is the newer frame.
    pub(crate) number: u64,
    encoded: EncodedFrame,
}

impl TrendFrame {
    pub(crate) fn encode(snapshot: &TrendSnapshot, memory: &ConnectionMemory) -> Self {
        let json = ServerFrame::from_trend(snapshot).to_json();
        Self {
            host: snapshot.host.clone(),
            sampled_at: snapshot.sampled_at,
            number: 0,
            encoded: EncodedFrame::from_json(&json, memory),
        }
    }

    /// Returns the frame, shared by all connections with this encoding.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        self.encoded.bytes(encoding)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.encoded.size_bytes()
    }
}
