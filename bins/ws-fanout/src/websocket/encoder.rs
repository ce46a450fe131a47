//! Encodes server frames, which are unfragmented and unmasked (RFC 6455, section 5.2).

use bytes::Bytes;

use super::Close;

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xA;

/// A ping without a payload.
pub(crate) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// Length of the longest frame header, in bytes.
const HEADER_BYTES_MAX: usize = 10;
/// Length, in bytes, of the header of a frame with a payload of 126 to 65,535 bytes.
const MEDIUM_HEADER_BYTES: usize = 4;

/// Appends a text frame. `write` appends the payload.
pub(crate) fn encode_text(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Reserve space for the medium header, which most frames need. The actual header replaces this
    // space.
    let start = buffer.len();
    buffer.extend_from_slice(&[0; MEDIUM_HEADER_BYTES]);
    write(buffer);
    let length = buffer.len() - start - MEDIUM_HEADER_BYTES;
    let (header, used) = header(FINAL | TEXT, length);
    buffer.splice(start..start + MEDIUM_HEADER_BYTES, header[..used].iter().copied());
}

/// Returns the payload of a frame that [`encode_text`] encoded.
pub(crate) fn text_payload(frame: &[u8]) -> &[u8] {
    frame.get(header_length(frame)..).unwrap_or_default()
}

/// Finds the frame that contains the byte at `offset` in consecutive frames. Returns the end of the
/// frame and the number of frames before it. If a frame begins at `offset`, returns `offset` as the
/// end.
pub(crate) fn find_frame(frames: &[u8], offset: usize) -> (usize, u32) {
    let (mut start, mut before) = (0, 0);
    while start < offset {
        let frame = &frames[start..];
        let header_length = header_length(frame);
        let length = match header_length {
            2 => frame.get(1..2),
            _ => frame.get(2..header_length),
        };
        let length = length.unwrap_or_default();
        let payload = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let end = start + header_length + payload;
        if offset < end {
            return (end.min(frames.len()), before);
        }
        (start, before) = (end, before + 1);
    }
    (start, before)
}

fn header_length(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(126) => MEDIUM_HEADER_BYTES,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    }
}

/// Encodes a Close frame.
pub(crate) fn encode_close(close: &Close) -> Bytes {
    encode_close_payload(Some(close.code.number()), close.reason.as_bytes())
}

/// Encodes the reply to a client's Close frame. The reply echoes the code.
pub(crate) fn encode_close_reply(code: Option<u16>) -> Bytes {
    encode_close_payload(code, b"")
}

/// Encodes the reply to a ping.
pub(crate) fn encode_pong(payload: &[u8]) -> Vec<u8> {
    encode_control(PONG, payload)
}

fn encode_close_payload(code: Option<u16>, reason: &[u8]) -> Bytes {
    let code = code.map(u16::to_be_bytes);
    let payload = [code.as_ref().map_or(&[][..], |code| &code[..]), reason].concat();
    encode_control(CLOSE, &payload).into()
}

fn encode_control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let (header, used) = header(FINAL | opcode, payload.len());
    [&header[..used], payload].concat()
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
    fn frame_that_contains_an_offset_is_found() {
        let mut frames = Vec::new();
        for length in [3, 200, 70_000] {
            encode_text(&mut frames, |buffer| buffer.resize(buffer.len() + length, b'x'));
        }
        // The frames begin at 0, 5 and 209.
        for (offset, found) in [
            (0, (0, 0)),
            (1, (5, 0)),
            (4, (5, 0)),
            (5, (5, 1)),
            (6, (209, 1)),
            (208, (209, 1)),
            (209, (209, 2)),
            (210, (70_219, 2)),
            (70_218, (70_219, 2)),
        ] {
            assert_eq!(find_frame(&frames, offset), found, "{offset}");
        }
        assert_eq!(find_frame(&PING, 1), (2, 0));
    }

    #[test]
    fn close_frame_contains_its_code() {
        let close = Close { code: super::super::CloseCode::NoPong, reason: "no".into() };
        assert_eq!(&encode_close(&close)[..], &[0x88, 4, 0x0F, 0xA1, b'n', b'o']);
        assert_eq!(&encode_close_reply(None)[..], &[0x88, 0]);
    }
}
