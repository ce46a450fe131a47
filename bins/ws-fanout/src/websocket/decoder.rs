//! An incremental decoder for client frames (RFC 6455, sections 5.2 to 5.5 and 8.1).

use std::str;

use super::{Close, CloseCode, close::is_valid_code};

/// Maximum length of a client message other than `connect` and `auth`, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Maximum length of the payload of a control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 125;
/// Length of the longest header: two bytes, an eight-byte length and a four-byte mask.
const HEADER_BYTES_MAX: usize = 14;

/// A complete message or control frame from a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A text message.
    Text(String),
    /// A ping with its payload, which the pong must echo.
    Ping(Vec<u8>),
    Pong,
    /// A Close frame with its code, if any.
    Close(Option<u16>),
}

/// A decoder for the bytes from one client. Buffers only the incomplete frame or message.
#[derive(Debug)]
pub(crate) struct Decoder {
    message_bytes_max: usize,
    /// Number of frames that may still begin; `None` means no limit.
    frames_left: Option<u32>,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame with an incomplete payload.
    frame: Option<Frame>,
    /// Whether a message is incomplete.
    in_message: bool,
    /// The received part of the incomplete message.
    message: Vec<u8>,
    /// Length of the part of `message` that is known to be valid UTF-8, in bytes.
    valid_bytes: usize,
    /// The received part of the payload of a control frame.
    control: Vec<u8>,
    /// Whether messages are skipped. Control frames are always decoded.
    skips_messages: bool,
    /// Whether decoding has failed.
    has_failed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    length: usize,
    /// Number of received bytes of the payload.
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
    /// Creates a decoder that accepts messages of at most this many bytes.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            frames_left: None,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            in_message: false,
            message: Vec::new(),
            valid_bytes: 0,
            control: Vec::new(),
            skips_messages: false,
            has_failed: false,
        }
    }

    /// Changes the maximum length of messages, starting with the next frame.
    pub(crate) fn limit_messages(&mut self, bytes_max: usize) {
        self.message_bytes_max = bytes_max;
    }

    /// Limits the number of frames that may begin; `None` means no limit. Every frame counts, also
    /// a control frame and a fragment of a message.
    pub(crate) fn limit_frames(&mut self, frames: Option<u32>) {
        self.frames_left = frames;
    }

    /// Returns the number of frames that may still begin; `None` means no limit.
    pub(crate) fn frames_left(&self) -> Option<u32> {
        self.frames_left
    }

    /// Discards the incomplete message and skips all further messages, so that they occupy no
    /// memory. Control frames are still decoded.
    pub(crate) fn skip_messages(&mut self) {
        self.skips_messages = true;
        self.message = Vec::new();
        self.valid_bytes = 0;
    }

    pub(crate) fn skips_messages(&self) -> bool {
        self.skips_messages
    }

    /// Returns the memory that the incomplete message occupies, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Decodes `input` and passes complete messages and control frames to `handle`, which returns
    /// whether to continue. Returns the number of decoded bytes. After an error, all further input
    /// is ignored.
    ///
    /// # Errors
    /// Returns the close code and reason to send if the client violates the protocol or a limit.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        handle: impl FnMut(Incoming) -> bool,
    ) -> Result<usize, Close> {
        if self.has_failed {
            return Ok(input.len());
        }
        let outcome = self.decode_frames(input, handle);
        if outcome.is_err() {
            *self = Self { has_failed: true, ..Self::new(self.message_bytes_max) };
        }
        outcome.map(|rest| input.len() - rest)
    }

    /// Decodes frames and returns the number of remaining bytes.
    fn decode_frames(
        &mut self,
        mut input: &[u8],
        mut handle: impl FnMut(Incoming) -> bool,
    ) -> Result<usize, Close> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(&mut input)? {
                    Some(frame) => {
                        self.count_frame()?;
                        frame
                    }
                    None => return Ok(0),
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
                return Ok(0);
            }
            if let Some(incoming) = self.finish_frame(&frame)?
                && !handle(incoming)
            {
                return Ok(input.len());
            }
        }
    }

    /// Reads a frame header. Returns `None` if the header is still incomplete.
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
                self.check_first_bytes()?;
            }
            if self.header_bytes == self.header_length() {
                self.header_bytes = 0;
                return self.start_frame(wanted).map(Some);
            }
        }
    }

    /// Returns the length of the header, or 2 until the first two bytes determine the length.
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

    /// Validates the first two bytes of a frame.
    fn check_first_bytes(&self) -> Result<(), Close> {
        let [first, second, ..] = self.header;
        if first & 0x70 != 0 {
            return Err(protocol_error("reserved bits must be 0"));
        }
        if second & 0x80 == 0 {
            return Err(protocol_error("client frames must be masked"));
        }
        let opcode = match first & 0x0F {
            0x2 => return Err(CloseCode::Unsupported.into()),
            code => Opcode::parse(code).ok_or_else(|| protocol_error("the opcode is reserved"))?,
        };
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && (!is_final || usize::from(second & 0x7F) > CONTROL_BYTES_MAX) {
            return Err(protocol_error(
                "control frames must be unfragmented and have at most 125 bytes",
            ));
        }
        match opcode {
            Opcode::Continuation if !self.in_message => {
                Err(protocol_error("continuation frame without a preceding fragment"))
            }
            Opcode::Text if self.in_message => {
                Err(protocol_error("new message before the last fragment of the previous one"))
            }
            _ => Ok(()),
        }
    }

    fn start_frame(&mut self, header_length: usize) -> Result<Frame, Close> {
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
            return Err(protocol_error("the payload length must use the shortest encoding"));
        }
        let opcode = Opcode::parse(first & 0x0F).unwrap_or(Opcode::Text);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let is_control = opcode.is_control();
        if !is_control && self.message.len().saturating_add(length) > self.message_bytes_max {
            return Err(CloseCode::TooLarge.into());
        }
        if !is_control {
            self.in_message = true;
        }
        let mut key = [0; 4];
        key.copy_from_slice(mask);
        Ok(Frame { opcode, is_final: first & 0x80 != 0, mask: key, length, received: 0 })
    }

    fn count_frame(&mut self) -> Result<(), Close> {
        match &mut self.frames_left {
            Some(0) => Err(Close::with_reason(CloseCode::Overloaded, "too_many_frames")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn unmask(&mut self, frame: &Frame, payload: &[u8]) {
        if self.skips_messages && !frame.opcode.is_control() {
            return;
        }
        let buffer = if frame.opcode.is_control() { &mut self.control } else { &mut self.message };
        let key = frame.mask.iter().cycle().skip(frame.received % 4);
        buffer.extend(payload.iter().zip(key).map(|(byte, key)| byte ^ key));
    }

    /// Rejects invalid UTF-8 as soon as it is received.
    fn check_text(&mut self) -> Result<(), Close> {
        match str::from_utf8(&self.message[self.valid_bytes..]) {
            Ok(valid) => self.valid_bytes += valid.len(),
            Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
            Err(_) => return Err(CloseCode::InvalidText.into()),
        }
        Ok(())
    }

    fn finish_frame(&mut self, frame: &Frame) -> Result<Option<Incoming>, Close> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => {
                self.control = Vec::new();
                Ok(Some(Incoming::Pong))
            }
            Opcode::Close => parse_close(&std::mem::take(&mut self.control)).map(Some),
            Opcode::Text | Opcode::Continuation if !frame.is_final => Ok(None),
            Opcode::Text | Opcode::Continuation => {
                self.in_message = false;
                if self.skips_messages {
                    return Ok(None);
                }
                self.valid_bytes = 0;
                let text = String::from_utf8(std::mem::take(&mut self.message));
                text.map(|text| Some(Incoming::Text(text)))
                    .map_err(|_| CloseCode::InvalidText.into())
            }
        }
    }
}

impl Opcode {
    fn parse(code: u8) -> Option<Self> {
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

fn protocol_error(reason: &str) -> Close {
    Close::with_reason(CloseCode::Protocol, reason)
}

fn parse_close(payload: &[u8]) -> Result<Incoming, Close> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [_] => Err(protocol_error("a Close payload must be empty or have at least two bytes")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid_code(code) {
                return Err(protocol_error("the close code is reserved"));
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
        let (mut decoder, mut all) = (Decoder::new(MESSAGE_BYTES_MAX), Vec::new());
        for chunk in chunks {
            let result = decoder.decode(chunk, |incoming| {
                all.push(incoming);
                true
            });
            result.map_err(|close| close.code.number())?;
        }
        Ok(all)
    }

    #[test]
    fn message_is_decoded_from_any_chunking() {
        let text = "grün 🦗";
        let (one, two) = text.as_bytes().split_at(9);
        let bytes = [frame(0x01, one), frame(0x89, b"hi"), frame(0x80, two)].concat();
        let expected = [Incoming::Ping(b"hi".to_vec()), Incoming::Text(text.into())];
        assert_eq!(decode(&[&bytes]).expect("valid frames"), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single).expect("valid frames"), expected);
    }

    #[test]
    fn input_after_a_protocol_error_is_not_buffered() {
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        let oversized = [0x89, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(decoder.decode(&oversized, |_| true).is_err());
        let more = vec![0; 65_536];
        let ignored = decoder.decode(&more, |_| panic!("no frame may be decoded"));
        assert_eq!(ignored, Ok(more.len()));
        assert!(decoder.control.capacity() + decoder.message.capacity() == 0);
    }

    #[test]
    fn skipped_messages_occupy_no_memory_and_hide_no_control_frame() {
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        let long = [b'x'; 100];
        assert!(decoder.decode(&frame(0x81, &long)[..50], |_| true).is_ok());
        assert!(decoder.buffered_bytes() > 0);
        decoder.skip_messages();
        assert_eq!(decoder.buffered_bytes(), 0);
        let rest = frame(0x81, &long).split_off(50);
        let (mut all, more) = (Vec::new(), [frame(0x01, &long), frame(0x89, b"hi")].concat());
        for input in [rest, more, frame(0x80, b"end"), frame(0x88, b"")] {
            let result = decoder.decode(&input, |incoming| {
                all.push(incoming);
                true
            });
            assert_eq!(result, Ok(input.len()));
            assert_eq!(decoder.buffered_bytes(), 0);
        }
        assert_eq!(all, [Incoming::Ping(b"hi".to_vec()), Incoming::Close(None)]);
    }

    #[test]
    fn decoding_continues_where_it_was_paused() {
        let input =
            [frame(0x89, b"1"), frame(0x89, b"2"), frame(0x89, b"3")[..4].to_vec()].concat();
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        let mut all = Vec::new();
        let mut decode = |input: &[u8]| {
            decoder.decode(input, |incoming| {
                all.push(incoming);
                false
            })
        };
        let one = frame(0x89, b"1").len();
        assert_eq!(decode(&input), Ok(one));
        assert_eq!(decode(&input[one..]), Ok(one));
        assert_eq!(decode(&input[2 * one..]), Ok(4));
        assert_eq!(decode(&frame(0x89, b"3")[4..]), Ok(one - 4));
        assert_eq!(all, ["1", "2", "3"].map(|payload| Incoming::Ping(payload.into())));
    }

    #[test]
    fn message_size_limit_can_be_changed() {
        let long = frame(0x81, &[b'x'; 100]);
        let mut decoder = Decoder::new(100);
        assert_eq!(decoder.decode(&long, |_| true), Ok(long.len()));
        decoder.limit_messages(99);
        assert_eq!(decoder.decode(&long, |_| true), Err(CloseCode::TooLarge.into()));
    }

    #[test]
    fn each_protocol_violation_has_a_close_code() {
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

    #[test]
    fn every_frame_counts_toward_the_limit() {
        let (empty, ping) = (frame(0x80, b""), frame(0x89, b""));
        let fragment = frame(0x01, b"");
        for (frames, expected) in [
            (vec![ping.clone(); 3], Ok(Some(0))),
            (vec![ping.clone(); 4], Err(4002)),
            (vec![fragment.clone(), ping, empty.clone()], Ok(Some(0))),
            (vec![fragment, empty.clone(), empty], Err(1002)),
        ] {
            let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
            decoder.limit_frames(Some(3));
            let outcome = decoder.decode(&frames.concat(), |_| true);
            let outcome = outcome.map(|_| decoder.frames_left());
            assert_eq!(outcome.map_err(|close| close.code.number()), expected, "{frames:?}");
        }
    }
}
