//! A scanner for the frames of a server (RFC 6455). It inspects only the first bytes of each frame,
//! since it processes a million frames per second.

/// The maximum number of inspected bytes: a header of two bytes and the longest payload of a
/// control frame.
const MAX_PEEK: usize = 2 + 125;
/// The first bytes of the payload of a message frame.
const MESSAGE_PREFIX: &[u8] = br#"{"type":"message""#;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A frame of interest.
#[derive(Debug, PartialEq, Eq)]
pub enum ScannedFrame<'a> {
    /// A message, with its payload if it is completely buffered.
    Message(Option<&'a [u8]>),
    /// A ping with its payload.
    Ping(&'a [u8]),
    /// A close frame.
    Close,
}

/// The state of a scan.
#[derive(Debug)]
pub struct FrameScanner {
    /// The first bytes of a frame that is not completely received.
    partial: [u8; MAX_PEEK],
    filled: usize,
    /// The number of outstanding bytes of the current frame.
    remaining: usize,
}

impl Default for FrameScanner {
    fn default() -> Self {
        Self { partial: [0; MAX_PEEK], filled: 0, remaining: 0 }
    }
}

impl FrameScanner {
    /// Scans the next bytes and calls `on_frame` for each frame of interest.
    pub fn scan(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(ScannedFrame<'_>)) {
        loop {
            let skipped = self.remaining.min(bytes.len());
            (self.remaining, bytes) = (self.remaining - skipped, &bytes[skipped..]);
            if bytes.is_empty() {
                return;
            }
            if self.filled == 0
                && let Some(header) = Header::parse(bytes)
                && bytes.len() >= header.length + header.peek()
            {
                let end = header.length + header.payload;
                let complete = bytes.get(header.length..end);
                header.on_frame(
                    &bytes[header.length..header.length + header.peek()],
                    complete,
                    &mut on_frame,
                );
                self.remaining = end;
                continue;
            }
            self.partial[self.filled] = bytes[0];
            (self.filled, bytes) = (self.filled + 1, &bytes[1..]);
            let partial = &self.partial[..self.filled];
            if let Some(header) = Header::parse(partial)
                && partial.len() == header.length + header.peek()
            {
                header.on_frame(&partial[header.length..], None, &mut on_frame);
                self.remaining = header.payload - header.peek();
                self.filled = 0;
            }
        }
    }
}

/// A frame header.
struct Header {
    kind: u8,
    length: usize,
    payload: usize,
}

impl Header {
    /// Parses a header. Returns `None` if it is incomplete.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.first()?;
        let number = |range| {
            let digits: &[u8] = bytes.get(range)?;
            Some(digits.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        };
        let (length, payload) = match *bytes.get(1)? {
            126 => (4, number(2..4)?),
            127 => (10, number(2..10)?),
            payload => (2, payload.into()),
        };
        Some(Self { kind, length, payload })
    }

    /// Returns the number of payload bytes that identify the frame.
    fn peek(&self) -> usize {
        let max = if self.kind == TEXT { MESSAGE_PREFIX.len() } else { MAX_PEEK - self.length };
        self.payload.min(max)
    }

    fn on_frame(
        &self,
        peeked: &[u8],
        complete: Option<&[u8]>,
        on_frame: &mut impl FnMut(ScannedFrame<'_>),
    ) {
        match self.kind {
            TEXT if peeked == MESSAGE_PREFIX => on_frame(ScannedFrame::Message(complete)),
            PING => on_frame(ScannedFrame::Ping(peeked)),
            CLOSE => on_frame(ScannedFrame::Close),
            _ => {}
        }
    }
}

/// Encodes a text frame.
pub fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![TEXT];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// Encodes a client's pong with an all-zero mask.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(125).min(125);
    let mut frame = vec![0x8a, 0x80 | length, 0, 0, 0, 0];
    frame.extend(&payload[..length.into()]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let long = format!(r#"{{"type":"message","message":"{}"}}"#, "x".repeat(70_000));
        [
            text_frame(br#"{"type":"hello"}"#),
            text_frame(br#"{"type":"message","message":1}"#),
            vec![PING, 2, b'h', b'i'],
            text_frame(long.as_bytes()),
            text_frame(&[MESSAGE_PREFIX, &[b' '; 300], b"}"].concat()),
            vec![0x82, 0],
            text_frame(b"{}"),
            vec![CLOSE, 2, 0x03, 0xe9],
        ]
        .concat()
    }

    #[test]
    fn scan_does_not_depend_on_the_chunk_size() {
        let stream = stream();
        for size in [1, 2, 3, 7, 64, 1_000, 80_000] {
            let (mut scanner, mut seen) = (FrameScanner::default(), String::new());
            for part in stream.chunks(size) {
                scanner.scan(part, |one| match one {
                    ScannedFrame::Message(_) => seen += "message ",
                    ScannedFrame::Ping(payload) => {
                        seen += std::str::from_utf8(payload).expect("text");
                    }
                    ScannedFrame::Close => seen += " close",
                });
            }
            assert_eq!(seen, "message himessage message  close", "in parts of {size}");
            assert_eq!((scanner.filled, scanner.remaining), (0, 0));
        }
    }

    #[test]
    fn buffered_message_is_reported_with_its_payload() {
        let payload = br#"{"type":"message","message":1}"#;
        let mut seen = 0;
        FrameScanner::default().scan(&text_frame(payload), |one| {
            assert_eq!(one, ScannedFrame::Message(Some(payload)));
            seen += 1;
        });
        assert_eq!(seen, 1);
    }

    #[test]
    fn pong_echoes_the_payload_of_the_ping() {
        assert_eq!(pong(b"hi"), [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }
}
