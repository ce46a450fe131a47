//! Encoding of server frames: unfragmented and unmasked (RFC 6455, section 5.2).

use bytes::Bytes;

use super::Close;

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xA;

/// A ping without payload.
pub(crate) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// Length of the longest frame header.
const HEADER_BYTES_MAX: usize = 10;
/// Length of the header of a frame with 126 to 65,535 bytes.
const MEDIUM_HEADER_BYTES: usize = 4;

/// Appends a text frame, whose payload `write` appends.
pub(crate) fn encode_text(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Most frames have a medium length: that header is reserved, and replaced if the length
    // differs.
    let start = buffer.len();
    buffer.extend_from_slice(&[0; MEDIUM_HEADER_BYTES]);
    write(buffer);
    let length = buffer.len() - start - MEDIUM_HEADER_BYTES;
    let (header, used) = header(FINAL | TEXT, length);
    buffer.splice(start..start + MEDIUM_HEADER_BYTES, header[..used].iter().copied());
}

/// Returns the payload of a frame that [`encode_text`] has encoded.
pub(crate) fn text_payload(frame: &[u8]) -> &[u8] {
    let header_length = match frame.get(1) {
        Some(126) => MEDIUM_HEADER_BYTES,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    };
    frame.get(header_length..).unwrap_or_default()
}

/// Encodes a Close frame.
pub(crate) fn encode_close(close: &Close) -> Bytes {
    encode_close_payload(Some(close.code.number()), close.reason.as_bytes())
}

/// Encodes the reply to a Close frame of the client, which echoes its code.
pub(crate) fn encode_close_reply(code: Option<u16>) -> Bytes {
    encode_close_payload(code, b"")
}

/// Encodes the reply to a ping.
pub(crate) fn encode_pong(payload: &[u8]) -> Bytes {
    encode_control(PONG, payload)
}

fn encode_close_payload(code: Option<u16>, reason: &[u8]) -> Bytes {
    let code = code.map(u16::to_be_bytes);
    encode_control(CLOSE, &[code.as_ref().map_or(&[][..], |code| &code[..]), reason].concat())
}

fn encode_control(opcode: u8, payload: &[u8]) -> Bytes {
    let (header, used) = header(FINAL | opcode, payload.len());
    [&header[..used], payload].concat().into()
}

/// Returns a frame header and its length.
fn header(first: u8, length: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = first;
    if let Ok(short @ 0..126) = u8::try_from(length) {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(length) {
        header[1] = 126;
        header[2..MEDIUM_HEADER_BYTES].copy_from_slice(&medium.to_be_bytes());
        (header, MEDIUM_HEADER_BYTES)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(length as u64).to_be_bytes());
        (header, HEADER_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_uses_the_shortest_length_encoding() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = b"before".to_vec();
            encode_text(&mut frame, |buffer| buffer.resize(buffer.len() + length, b'x'));
            let frame = &frame[6..];
            assert_eq!(&frame[..head.len()], head, "{length}");
            assert_eq!(text_payload(frame), "x".repeat(length).as_bytes());
        }
    }

    #[test]
    fn close_frame_contains_its_code() {
        let close = Close { code: super::super::CloseCode::NoPong, reason: "no".into() };
        assert_eq!(&encode_close(&close)[..], &[0x88, 4, 0x0F, 0xA1, b'n', b'o']);
        assert_eq!(&encode_close_reply(None)[..], &[0x88, 0]);
    }
}
