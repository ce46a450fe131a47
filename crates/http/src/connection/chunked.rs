//! The framing of a chunked body (RFC 9112, section 7.1), which determines where the body ends.

/// The position in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkedFraming(ChunkPosition);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkPosition {
    /// In the digits of a chunk size; contains the size read so far.
    Size(u64),
    /// In the rest of the line after the digits; contains the chunk size.
    Extension(u64),
    /// In the data of a chunk; contains the number of bytes left.
    Data(u64),
    /// In the line break after the data of a chunk.
    DataEnd,
    /// In the lines after the last chunk; records whether the current line is empty so far.
    Trailer { is_empty: bool },
}

impl ChunkedFraming {
    pub(super) fn new() -> Self {
        Self(ChunkPosition::Size(0))
    }

    /// Advances through `bytes`. Returns how many of them belong to the body, and whether the body
    /// ends after them. The HTTP library rejects malformed framing.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if let ChunkPosition::Data(left) = self.0 {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += taken;
                let left = left - taken as u64;
                self.0 = if left == 0 { ChunkPosition::DataEnd } else { ChunkPosition::Data(left) };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match self.next_position(byte) {
                Some(position) => self.0 = position,
                None => return (at, true),
            }
        }
        (at, false)
    }

    /// Returns the position after a byte outside chunk data, or `None` at the end of the body.
    fn next_position(self, byte: u8) -> Option<ChunkPosition> {
        let after_size = |size| {
            if size == 0 {
                ChunkPosition::Trailer { is_empty: true }
            } else {
                ChunkPosition::Data(size)
            }
        };
        Some(match (self.0, byte) {
            (ChunkPosition::Size(size) | ChunkPosition::Extension(size), b'\n') => after_size(size),
            (ChunkPosition::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                ChunkPosition::Size(size.saturating_mul(16).saturating_add(digit.into()))
            }
            (ChunkPosition::Size(size) | ChunkPosition::Extension(size), _) => {
                ChunkPosition::Extension(size)
            }
            (ChunkPosition::DataEnd, b'\n') => ChunkPosition::Size(0),
            (ChunkPosition::Trailer { is_empty: true }, b'\n') => return None,
            (ChunkPosition::Trailer { is_empty }, b'\r') => ChunkPosition::Trailer { is_empty },
            (ChunkPosition::Trailer { .. }, byte) => {
                ChunkPosition::Trailer { is_empty: byte == b'\n' }
            }
            (position, _) => position,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"4\r\nWiki\r\nA;name=value\r\n0123456789\r\n0\r\nExpires: never\r\n\r\n";

    #[test]
    fn end_of_the_body_is_found_in_any_split() {
        let bytes = [BODY, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(ChunkedFraming::new().advance(&bytes), (BODY.len(), true));
        for split in 0..BODY.len() {
            let mut framing = ChunkedFraming::new();
            assert_eq!(framing.advance(&bytes[..split]), (split, false), "{split}");
            assert_eq!(framing.advance(&bytes[split..]), (BODY.len() - split, true), "{split}");
        }
    }

    #[test]
    fn data_may_look_like_framing() {
        let body = b"5\r\n0\r\n\r\n\r\n0\r\n\r\n";
        assert_eq!(ChunkedFraming::new().advance(body), (body.len(), true));
        assert_eq!(ChunkedFraming::new().advance(b"0\n\nrest"), (3, true));
        let huge = b"ffffffffffffffffffffffff\r\nx";
        assert_eq!(ChunkedFraming::new().advance(huge), (huge.len(), false));
    }
}
