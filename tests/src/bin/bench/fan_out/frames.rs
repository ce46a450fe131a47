//! Walks through the frames that a server sends (RFC 6455) without looking into more than their
//! first bytes: whoever counts a million a second cannot read them.

/// The longest beginning that is looked at: a head of two bytes, and the longest payload of a
/// control frame.
const PEEK_MAX: usize = 2 + 125;
/// What a frame that carries a message begins with.
const MESSAGE: &[u8] = br#"{"type":"message""#;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// What is noticed in a stream of frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A message, with its payload if all of it is at hand.
    Message(Option<&'a [u8]>),
    /// A ping, with what is to be given back.
    Ping(&'a [u8]),
    /// The end.
    Close,
}

/// The place in a stream of frames.
#[derive(Debug)]
pub struct Walker {
    /// The beginning of a frame that ended with the bytes at hand.
    beginning: [u8; PEEK_MAX],
    filled: usize,
    /// Bytes of the present frame that are still to come.
    rest: usize,
}

impl Default for Walker {
    fn default() -> Self {
        Self { beginning: [0; PEEK_MAX], filled: 0, rest: 0 }
    }
}

impl Walker {
    /// Walks through the next bytes.
    pub fn walk(&mut self, mut bytes: &[u8], mut notice: impl FnMut(Seen<'_>)) {
        loop {
            let passed = self.rest.min(bytes.len());
            (self.rest, bytes) = (self.rest - passed, &bytes[passed..]);
            if bytes.is_empty() {
                return;
            }
            if self.filled == 0
                && let Some(head) = Head::read(bytes)
                && bytes.len() >= head.length + head.peek()
            {
                let end = head.length + head.payload;
                let whole = bytes.get(head.length..end);
                head.notice(&bytes[head.length..head.length + head.peek()], whole, &mut notice);
                self.rest = end;
                continue;
            }
            self.beginning[self.filled] = bytes[0];
            (self.filled, bytes) = (self.filled + 1, &bytes[1..]);
            let begun = &self.beginning[..self.filled];
            if let Some(head) = Head::read(begun)
                && begun.len() == head.length + head.peek()
            {
                head.notice(&begun[head.length..], None, &mut notice);
                self.rest = head.payload - head.peek();
                self.filled = 0;
            }
        }
    }
}

/// The head of a frame.
struct Head {
    kind: u8,
    length: usize,
    payload: usize,
}

impl Head {
    /// Reads a head; none while it is not whole.
    fn read(bytes: &[u8]) -> Option<Self> {
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

    /// How much of the payload tells what the frame is.
    fn peek(&self) -> usize {
        let most = if self.kind == TEXT { MESSAGE.len() } else { PEEK_MAX - self.length };
        self.payload.min(most)
    }

    fn notice(&self, peeked: &[u8], whole: Option<&[u8]>, notice: &mut impl FnMut(Seen<'_>)) {
        match self.kind {
            TEXT if peeked == MESSAGE => notice(Seen::Message(whole)),
            PING => notice(Seen::Ping(peeked)),
            CLOSE => notice(Seen::Close),
            _ => {}
        }
    }
}

/// A whole text frame.
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

/// The answer of a client to a ping, masked with nothing.
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
            text_frame(&[MESSAGE, &[b' '; 300], b"}"].concat()),
            vec![0x82, 0],
            text_frame(b"{}"),
            vec![CLOSE, 2, 0x03, 0xe9],
        ]
        .concat()
    }

    #[test]
    fn what_is_noticed_does_not_depend_on_how_the_bytes_come() {
        let stream = stream();
        for size in [1, 2, 3, 7, 64, 1_000, 80_000] {
            let (mut walker, mut seen) = (Walker::default(), String::new());
            for part in stream.chunks(size) {
                walker.walk(part, |one| match one {
                    Seen::Message(_) => seen += "message ",
                    Seen::Ping(payload) => seen += std::str::from_utf8(payload).expect("text"),
                    Seen::Close => seen += " close",
                });
            }
            assert_eq!(seen, "message himessage message  close", "in parts of {size}");
            assert_eq!((walker.filled, walker.rest), (0, 0));
        }
    }

    #[test]
    fn a_message_at_hand_is_shown_whole() {
        let payload = br#"{"type":"message","message":1}"#;
        let mut seen = 0;
        Walker::default().walk(&text_frame(payload), |one| {
            assert_eq!(one, Seen::Message(Some(payload)));
            seen += 1;
        });
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_pong_gives_back_what_the_ping_said() {
        assert_eq!(pong(b"hi"), [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }
}
