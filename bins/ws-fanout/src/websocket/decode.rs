//! Frames of clients, taken apart as their bytes come in (RFC 6455, sections 5.2 to 5.5 and 8.1).

use std::str;

use super::{Close, CloseCode, close::is_valid};

/// Bytes of the longest message of a client.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the longest payload of a control frame.
const CONTROL_BYTES_MAX: usize = 125;
/// Bytes of the longest header: two, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole text.
    Text(String),
    /// It wants a pong with this payload.
    Ping(Vec<u8>),
    /// It answers a ping.
    Pong,
    /// It wants to end, with this code.
    Close(Option<u16>),
}

/// Takes the bytes of one client apart. What is incomplete is kept, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// Whether a fragmented message has begun and not ended.
    in_message: bool,
    /// The message so far.
    message: Vec<u8>,
    /// How much of the message is known to be UTF-8.
    valid_bytes: usize,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// Whether the client broke the protocol.
    is_broken: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    length: usize,
    /// Bytes of the payload that have come in.
    received: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Close,
    Ping,
    Pong,
}

impl Decoder {
    /// Takes `input` apart and gives what is complete to `take`; false from it ends the work. What
    /// comes after a break of the protocol is dropped unread.
    ///
    /// # Errors
    /// What the connection is to be closed with, if the client broke the protocol.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        take: impl FnMut(Incoming) -> bool,
    ) -> Result<(), Close> {
        if self.is_broken {
            return Ok(());
        }
        let outcome = self.take_apart(input, take);
        if outcome.is_err() {
            *self = Self { is_broken: true, ..Self::default() };
        }
        outcome
    }

    fn take_apart(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(Incoming) -> bool,
    ) -> Result<(), Close> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(&mut input)? {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            let bytes = (frame.length - frame.received).min(input.len());
            let (payload, rest) = input.split_at(bytes);
            input = rest;
            self.unmask(&frame, payload);
            frame.received += bytes;
            if !frame.opcode.is_control() {
                self.check_text()?;
            }
            if frame.received < frame.length {
                self.frame = Some(frame);
                return Ok(());
            }
            if let Some(incoming) = self.finish(&frame)?
                && !take(incoming)
            {
                return Ok(());
            }
        }
    }

    /// Reads a header as far as it is there; nothing while it is incomplete.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Close> {
        loop {
            let wanted = self.header_length();
            let bytes = (wanted - self.header_bytes).min(input.len());
            let (head, rest) = input.split_at(bytes);
            self.header[self.header_bytes..][..bytes].copy_from_slice(head);
            self.header_bytes += bytes;
            *input = rest;
            if self.header_bytes < wanted {
                return Ok(None);
            }
            if self.header_bytes == 2 {
                self.check_start()?;
            }
            if self.header_bytes == self.header_length() {
                self.header_bytes = 0;
                return self.begin_frame(wanted).map(Some);
            }
        }
    }

    /// Bytes of the header, as far as its second byte says.
    fn header_length(&self) -> usize {
        if self.header_bytes < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + 4
    }

    /// Checks what the first two bytes say.
    fn check_start(&self) -> Result<(), Close> {
        let [first, second, ..] = self.header;
        if first & 0x70 != 0 {
            return Err(broken("reserved bits are set"));
        }
        if second & 0x80 == 0 {
            return Err(broken("a frame of a client must be masked"));
        }
        let opcode = match first & 0x0F {
            0x2 => return Err(CloseCode::Unsupported.into()),
            code => Opcode::of(code).ok_or_else(|| broken("the opcode is reserved"))?,
        };
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && (!is_final || usize::from(second & 0x7F) > CONTROL_BYTES_MAX) {
            return Err(broken("a control frame must be whole and at most 125 bytes"));
        }
        match opcode {
            Opcode::Continuation if !self.in_message => Err(broken("nothing is to be continued")),
            Opcode::Text if self.in_message => Err(broken("a message is not ended")),
            _ => Ok(()),
        }
    }

    fn begin_frame(&mut self, header_length: usize) -> Result<Frame, Close> {
        let [first, second, ..] = self.header;
        let (length, mask) = self.header[2..header_length].split_at(header_length - 6);
        let length = match length.len() {
            0 => u64::from(second & 0x7F),
            _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let shortest = match header_length {
            6 => 0,
            8 => 126,
            _ => 65_536,
        };
        if length < shortest || length >> 63 != 0 {
            return Err(broken("the length must be written in as few bytes as can be"));
        }
        let opcode = Opcode::of(first & 0x0F).unwrap_or(Opcode::Text);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let is_control = opcode.is_control();
        if !is_control && self.message.len().saturating_add(length) > MESSAGE_BYTES_MAX {
            return Err(CloseCode::TooLarge.into());
        }
        if !is_control {
            self.in_message = true;
        }
        let mut key = [0; 4];
        key.copy_from_slice(mask);
        Ok(Frame { opcode, is_final: first & 0x80 != 0, mask: key, length, received: 0 })
    }

    fn unmask(&mut self, frame: &Frame, payload: &[u8]) {
        let buffer = if frame.opcode.is_control() { &mut self.control } else { &mut self.message };
        let key = frame.mask.iter().cycle().skip(frame.received % 4);
        buffer.extend(payload.iter().zip(key).map(|(byte, key)| byte ^ key));
    }

    /// Refuses what can never become UTF-8, as soon as it is seen.
    fn check_text(&mut self) -> Result<(), Close> {
        match str::from_utf8(&self.message[self.valid_bytes..]) {
            Ok(valid) => self.valid_bytes += valid.len(),
            Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
            Err(_) => return Err(CloseCode::InvalidText.into()),
        }
        Ok(())
    }

    fn finish(&mut self, frame: &Frame) -> Result<Option<Incoming>, Close> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => {
                self.control = Vec::new();
                Ok(Some(Incoming::Pong))
            }
            Opcode::Close => read_close(&std::mem::take(&mut self.control)).map(Some),
            Opcode::Text | Opcode::Continuation if !frame.is_final => Ok(None),
            Opcode::Text | Opcode::Continuation => {
                self.in_message = false;
                self.valid_bytes = 0;
                let text = String::from_utf8(std::mem::take(&mut self.message));
                text.map(|text| Some(Incoming::Text(text)))
                    .map_err(|_| CloseCode::InvalidText.into())
            }
        }
    }
}

impl Opcode {
    fn of(code: u8) -> Option<Self> {
        match code {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

fn broken(rule: &str) -> Close {
    Close::with_reason(CloseCode::Protocol, rule)
}

fn read_close(payload: &[u8]) -> Result<Incoming, Close> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [_] => Err(broken("half a close code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid(code) {
                return Err(broken("the close code must not be sent"));
            }
            if str::from_utf8(reason).is_err() {
                return Err(CloseCode::InvalidText.into());
            }
            Ok(Incoming::Close(Some(code)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let length = u8::try_from(payload.len()).expect("a short payload");
        let mut frame = vec![first, 0x80 | length];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    fn decode(chunks: &[&[u8]]) -> Result<Vec<Incoming>, u16> {
        let (mut decoder, mut all) = (Decoder::default(), Vec::new());
        for chunk in chunks {
            let taken = decoder.decode(chunk, |incoming| {
                all.push(incoming);
                true
            });
            taken.map_err(|close| close.code.number())?;
        }
        Ok(all)
    }

    #[test]
    fn a_message_comes_in_however_it_is_cut() {
        let text = "grün 🦗";
        let (one, two) = text.as_bytes().split_at(9);
        let bytes = [frame(0x01, one), frame(0x89, b"hi"), frame(0x80, two)].concat();
        let expected = [Incoming::Ping(b"hi".to_vec()), Incoming::Text(text.into())];
        assert_eq!(decode(&[&bytes]).expect("it is valid"), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single).expect("it is valid"), expected);
    }

    #[test]
    fn nothing_is_kept_of_what_follows_a_break() {
        let mut decoder = Decoder::default();
        let endless = [0x89, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(decoder.decode(&endless, |_| true).is_err());
        let more = vec![0; 65_536];
        assert_eq!(decoder.decode(&more, |_| panic!("nothing comes")), Ok(()));
        assert!(decoder.control.capacity() + decoder.message.capacity() == 0);
    }

    #[test]
    fn what_breaks_the_protocol_has_its_code() {
        for (bytes, code) in [
            (vec![0x81, 0x01, b'x'], 1002),
            (frame(0xC1, b""), 1002),
            (frame(0x83, b""), 1002),
            (frame(0x09, b""), 1002),
            (frame(0x80, b""), 1002),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
            (frame(0x88, b"x"), 1002),
            (frame(0x88, &1005_u16.to_be_bytes()), 1002),
            (frame(0x88, &[0x03, 0xE8, 0xFF]), 1007),
            (frame(0x82, b""), 1003),
            (frame(0x01, &[0xC3, 0x28]), 1007),
            (frame(0x81, &[0xC3]), 1007),
            (vec![0x81, 0xFE, 0x10, 0x01, 0, 0, 0, 0], 1009),
            (vec![0x81, 0xFE, 0, 5, 0, 0, 0, 0], 1002),
        ] {
            assert_eq!(decode(&[&bytes]), Err(code), "{bytes:?}");
        }
    }
}
