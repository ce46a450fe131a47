//! Frames of the `rising` feed.

use bytes::Bytes;
use mayfly_core::{Host, Timestamp, TrendSnapshot, frame::ServerFrame};

use super::encoding::{EncodedFrame, Encoding};
use crate::hub::ConnectionMemory;

/// A frame with the trends of one host.
pub(crate) struct TrendFrame {
    pub(crate) host: Host,
    pub(crate) sampled_at: Timestamp,
    /// The sequence number. A newer frame for the same host has a greater number. 0 until the host
    /// registry stores the frame.
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

    /// Returns the encoded frame, which all connections with this encoding share.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        self.encoded.bytes(encoding)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.encoded.size_bytes()
    }
}
