//! Wire formats, and values that are encoded at most once per wire format.

use std::sync::OnceLock;

use bytes::Bytes;
use mayfly_core::Position;

use crate::{
    hub::{ConnectionMemory, StoredBytes},
    websocket::{encode_text, text_payload},
};

/// Upper bound on the number of bytes that a wire format adds to the payload of a frame without a
/// position.
const FRAME_OVERHEAD_BYTES: usize = 16;

/// The wire format of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// WebSocket text frames.
    WebSocket,
    /// Server-sent events.
    Sse,
}

/// A value that is encoded at most once per wire format and shared by all connections. The SSE
/// encoding is created when the first connection needs it.
pub(crate) struct EncodedOnce<T> {
    websocket: T,
    sse: OnceLock<T>,
}

impl<T> EncodedOnce<T> {
    pub(crate) fn new(websocket: T) -> Self {
        Self { websocket, sse: OnceLock::new() }
    }

    pub(crate) fn websocket(&self) -> &T {
        &self.websocket
    }

    /// Returns the value in `encoding`. `encode_sse` receives the WebSocket encoding.
    pub(crate) fn get(&self, encoding: Encoding, encode_sse: impl FnOnce(&T) -> T) -> &T {
        match encoding {
            Encoding::WebSocket => &self.websocket,
            Encoding::Sse => self.sse.get_or_init(|| encode_sse(&self.websocket)),
        }
    }
}

/// A frame without a position, for feeds that clients cannot resume.
pub(crate) struct EncodedFrame(EncodedOnce<StoredBytes>);

impl EncodedFrame {
    pub(crate) fn from_json(json: &[u8], memory: &ConnectionMemory) -> Self {
        let frame = encode_unpositioned(Encoding::WebSocket, json);
        Self(EncodedOnce::new(memory.store(frame)))
    }

    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        let encode_sse = |frame: &StoredBytes| {
            frame.memory().store(encode_unpositioned(Encoding::Sse, text_payload(frame)))
        };
        Bytes::clone(self.0.get(encoding, encode_sse))
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.0.websocket().len()
    }
}

fn encode_unpositioned(encoding: Encoding, json: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(json.len() + FRAME_OVERHEAD_BYTES);
    encode_json(&mut buffer, encoding, None, json);
    buffer
}

/// Appends one frame with this JSON payload.
pub(crate) fn encode_json(
    buffer: &mut Vec<u8>,
    encoding: Encoding,
    position: Option<&Position>,
    json: &[u8],
) {
    match encoding {
        Encoding::WebSocket => encode_text(buffer, |buffer| buffer.extend_from_slice(json)),
        Encoding::Sse => encode_sse_event(buffer, position, json),
    }
}

/// Encodes an SSE `retry` field, which sets the delay before an `EventSource` reconnects. The delay
/// applies until the client receives another `retry` field.
pub(crate) fn encode_sse_retry(millis: u64) -> Bytes {
    Bytes::from(format!("retry: {millis}\n\n"))
}

/// Finds the event that contains the byte at `offset`. Returns the end of this event, and the number
/// of events before it. If an event begins at `offset`, returns `offset` as the end.
pub(crate) fn find_sse_event(events: &[u8], offset: usize) -> (usize, u32) {
    let (mut start, mut before) = (0, 0);
    while start < offset {
        let length = events[start..].windows(2).position(|bytes| bytes == b"\n\n");
        let end = length.map_or(events.len(), |length| start + length + 2);
        if offset < end {
            return (end, before);
        }
        (start, before) = (end, before + 1);
    }
    (start, before)
}

/// Appends one server-sent event (WHATWG HTML, section 9.2). `json` must be a single line.
pub(super) fn encode_sse_event(buffer: &mut Vec<u8>, position: Option<&Position>, json: &[u8]) {
    if let Some(position) = position {
        buffer.extend_from_slice(format!("id: {position}\n").as_bytes());
    }
    buffer.extend_from_slice(b"data: ");
    buffer.extend_from_slice(json);
    buffer.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_found_by_an_offset() {
        let events = b"a\n\n:\n\nid: 1\ndata: b\n\n";
        for (offset, expected) in
            [(0, (0, 0)), (1, (3, 0)), (2, (3, 0)), (3, (3, 1)), (4, (6, 1)), (6, (6, 2))]
        {
            assert_eq!(find_sse_event(events, offset), expected, "{offset}");
        }
        for offset in 7..events.len() {
            assert_eq!(find_sse_event(events, offset), (events.len(), 2), "{offset}");
        }
        assert_eq!(find_sse_event(events, events.len()), (events.len(), 3));
        assert_eq!(find_sse_event(b"incomplete", 3), (10, 0));
    }
}
