//! An encoder and decoder of WebSocket frames (RFC 6455). A library would refuse to send invalid
//! frames and would hide invalid frames from a server.

use bytes::{Buf, Bytes, BytesMut};

/// The bit that marks the final frame of a message.
pub const FIN: u8 = 0x80;

/// The opcodes of RFC 6455, section 5.2.
pub mod opcode {
    /// A continuation of a fragmented message.
    pub const CONTINUATION: u8 = 0x0;
    /// A text frame.
    pub const TEXT: u8 = 0x1;
    /// A binary frame.
    pub const BINARY: u8 = 0x2;
    /// A close frame.
    pub const CLOSE: u8 = 0x8;
    /// A ping.
    pub const PING: u8 = 0x9;
    /// A pong.
    pub const PONG: u8 = 0xA;
}

/// A frame sent by a server.
#[derive(Debug)]
pub(super) struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Bytes,
}

impl Frame {
    /// Takes a frame from the buffer. Returns `None` if it is incomplete.
    ///
    /// # Panics
    /// If a server must not send such a frame.
    pub fn take(buffer: &mut BytesMut) -> Option<Self> {
        let (header, length) = read_header(buffer)?;
        let (first, second) = (buffer[0], buffer[1]);
        assert_eq!(first & 0x70, 0, "the server uses extensions that were not negotiated");
        assert_eq!(second & 0x80, 0, "the server masks its frames");
        if buffer.len() < header + length {
            buffer.reserve(header + length - buffer.len());
            return None;
        }
        let (fin, opcode) = (first & FIN != 0, first & 0x0F);
        assert!(
            opcode < 8 || (fin && length <= 125),
            "a control frame is final and at most 125 bytes long"
        );
        buffer.advance(header);
        Some(Self { fin, opcode, payload: buffer.split_to(length).freeze() })
    }
}

/// Returns the lengths of a frame's header and payload, or `None` if the header is incomplete.
fn read_header(buffer: &[u8]) -> Option<(usize, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (header, length, minimum) = match buffer.get(1)? & 0x7F {
        126 => (4, number(buffer.get(2..4)?), 126),
        127 => (10, number(buffer.get(2..10)?), 0x1_0000),
        short => (2, usize::from(short), 0),
    };
    assert!(length >= minimum, "the server does not use the shortest length encoding");
    Some((header, length))
}

/// Encodes a masked frame, as clients send it. `head` is the first byte: FIN, the reserved bits and
/// the opcode.
#[must_use]
pub fn encode(head: u8, payload: &[u8]) -> Vec<u8> {
    let mask = fastrand::u32(..).to_be_bytes();
    let mut frame = encode_header(head, payload.len(), 0x80);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Encodes an unmasked frame, which only a server may send.
#[must_use]
pub fn encode_unmasked(head: u8, payload: &[u8]) -> Vec<u8> {
    [encode_header(head, payload.len(), 0), payload.to_vec()].concat()
}

fn encode_header(head: u8, length: usize, masked: u8) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    match u8::try_from(length) {
        Ok(short) if short <= 125 => vec![head, masked + short],
        _ if length < 0x1_0000 => [&[head, masked + 126], &bytes[6..]].concat(),
        _ => [&[head, masked + 127], &bytes[..]].concat(),
    }
}

/// Encodes the payload of a close frame.
#[must_use]
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}
