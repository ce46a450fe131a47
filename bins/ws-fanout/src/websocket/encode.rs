//! Frames of a server: whole, unmasked (RFC 6455, section 5.2).

use bytes::Bytes;

use super::Close;

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xA;

/// A ping without payload.
pub(crate) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// Bytes of the header of the longest frame.
const HEADER_BYTES_MAX: usize = 10;

/// Appends a text frame, whose payload `write` appends.
pub(crate) fn encode_text(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Most frames are of the middle size: room for that header is kept, and mended where it is not.
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    write(into);
    let length = into.len() - start - 4;
    let (header, used) = header(FINAL | TEXT, length);
    into.splice(start..start + 4, header[..used].iter().copied());
}

/// The payload of a frame made by [`encode_text`].
pub(crate) fn payload_of(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// A Close frame.
pub(crate) fn encode_close(close: &Close) -> Bytes {
    close_frame(Some(close.code.number()), close.reason.as_bytes())
}

/// The answer to the Close of the other side: its own code.
pub(crate) fn close_frame(code: Option<u16>, reason: &[u8]) -> Bytes {
    let code = code.map(u16::to_be_bytes);
    control(CLOSE, &[code.as_ref().map_or(&[][..], |code| &code[..]), reason].concat())
}

/// The answer to a ping.
pub(crate) fn encode_pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let (header, used) = header(FINAL | opcode, payload.len());
    [&header[..used], payload].concat().into()
}

fn header(first: u8, length: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = first;
    if let Ok(short @ 0..126) = u8::try_from(length) {
        header[1] = short;
        (header, 2)
    } else if let Ok(middle) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&middle.to_be_bytes());
        (header, 4)
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
    fn the_header_says_the_length_in_as_few_bytes_as_can_be() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = b"before".to_vec();
            encode_text(&mut frame, |into| into.resize(into.len() + length, b'x'));
            let frame = &frame[6..];
            assert_eq!(&frame[..head.len()], head, "{length}");
            assert_eq!(payload_of(frame), "x".repeat(length).as_bytes());
        }
    }

    #[test]
    fn a_close_carries_its_code() {
        let close = Close { code: super::super::CloseCode::NoPong, reason: "no".into() };
        assert_eq!(&encode_close(&close)[..], &[0x88, 4, 0x0F, 0xA1, b'n', b'o']);
        assert_eq!(&close_frame(None, b"")[..], &[0x88, 0]);
    }
}
