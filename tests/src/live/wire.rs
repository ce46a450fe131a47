//! Frames of RFC 6455, put together and taken apart by hand: a library would refuse to send what is
//! wrong, and would hide what a server sends wrongly.

use bytes::{Buf, Bytes, BytesMut};

/// The bit that ends a message.
pub const FIN: u8 = 0x80;

/// The opcodes of RFC 6455, section 5.2.
pub mod opcode {
    /// More of a message.
    pub const CONTINUATION: u8 = 0x0;
    /// The beginning of a text.
    pub const TEXT: u8 = 0x1;
    /// The beginning of something that is no text.
    pub const BINARY: u8 = 0x2;
    /// The end of the connection.
    pub const CLOSE: u8 = 0x8;
    /// Is somebody there?
    pub const PING: u8 = 0x9;
    /// Somebody is.
    pub const PONG: u8 = 0xA;
}

/// A frame as a server sent it.
#[derive(Debug)]
pub(super) struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Bytes,
}

impl Frame {
    /// Takes a frame from what has arrived; none if it is not whole yet.
    ///
    /// # Panics
    /// When it is one that a server must not send.
    pub fn take(buffer: &mut BytesMut) -> Option<Self> {
        let (header, length) = read_header(buffer)?;
        let (first, second) = (buffer[0], buffer[1]);
        assert_eq!(first & 0x70, 0, "the server uses extensions that nobody agreed to");
        assert_eq!(second & 0x80, 0, "the server masks its frames");
        if buffer.len() < header + length {
            buffer.reserve(header + length - buffer.len());
            return None;
        }
        let (fin, opcode) = (first & FIN != 0, first & 0x0F);
        assert!(opcode < 8 || (fin && length <= 125), "a control frame is whole and short");
        buffer.advance(header);
        Some(Self { fin, opcode, payload: buffer.split_to(length).freeze() })
    }
}

/// The lengths of a frame's header and payload; none if they are not there yet.
fn read_header(buffer: &[u8]) -> Option<(usize, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (header, length, least) = match buffer.get(1)? & 0x7F {
        126 => (4, number(buffer.get(2..4)?), 126),
        127 => (10, number(buffer.get(2..10)?), 0x1_0000),
        short => (2, usize::from(short), 0),
    };
    assert!(length >= least, "the server writes a length longer than it need be");
    Some((header, length))
}

/// Puts a client's frame together, masked. `head` is its first byte: FIN, the reserved bits and the
/// opcode.
#[must_use]
pub fn encode(head: u8, payload: &[u8]) -> Vec<u8> {
    let mask = fastrand::u32(..).to_be_bytes();
    let mut frame = encode_header(head, payload.len(), 0x80);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Puts a frame together that is not masked, as only a server may.
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

/// What a close frame carries: a code and a reason.
#[must_use]
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}
