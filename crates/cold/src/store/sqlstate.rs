//! The SQLSTATE of the last error that Postgres sent on a connection.
//!
//! Errors are classified by SQLSTATE, because the language of an error's text depends on
//! `lc_messages`. diesel reports the SQLSTATE of only a few errors, so this module reads the
//! SQLSTATE from the protocol: a wrapper around the stream of the connection searches the server's
//! messages for error responses, and for the end of the authentication.

use std::{
    io,
    pin::Pin,
    str,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The length of an SQLSTATE, in bytes.
const CODE_BYTES: usize = 5;
/// The size of the type and the length at the start of every message from the server, in bytes.
const HEADER_BYTES: usize = 5;
/// The type of an error response.
const ERROR_RESPONSE: u8 = b'E';
/// The type of a message about the authentication.
const AUTHENTICATION: u8 = b'R';
/// The body of a message that reports that the authentication succeeded (`AuthenticationOk`).
const AUTHENTICATED: [u8; 4] = [0; 4];
/// The type of the field in an error response that contains the SQLSTATE.
const CODE_FIELD: u8 = b'C';
/// The maximum number of bytes to search in an error response. The SQLSTATE is the third field,
/// after the localized and the non-localized severity.
const SEARCHED_BYTES: usize = 256;

/// An SQLSTATE, such as `42P01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SqlState([u8; CODE_BYTES]);

impl SqlState {
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

/// The last SQLSTATE of a connection, shared by the stream and the session.
#[derive(Debug, Clone, Default)]
pub(super) struct LastSqlState(Arc<SharedState>);

#[derive(Debug, Default)]
struct SharedState {
    last: Mutex<Option<SqlState>>,
    is_authenticated: AtomicBool,
}

impl LastSqlState {
    /// Returns the last SQLSTATE and clears it.
    pub(super) fn take(&self) -> Option<SqlState> {
        self.0.last.lock().take()
    }

    /// Returns whether the server has reported that the authentication succeeded.
    pub(super) fn is_authenticated(&self) -> bool {
        self.0.is_authenticated.load(Ordering::Acquire)
    }
}

/// A stream from Postgres that records the SQLSTATE of error responses.
pub(super) struct SqlStateStream<S> {
    stream: S,
    reader: MessageReader,
    last: LastSqlState,
}

impl<S> SqlStateStream<S> {
    pub(super) fn new(stream: S, last: LastSqlState) -> Self {
        Self { stream, reader: MessageReader::default(), last }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SqlStateStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(code) = self.reader.read(&buffer.filled()[before..]) {
            *self.last.0.last.lock() = Some(code);
        }
        if self.reader.is_authenticated {
            self.last.0.is_authenticated.store(true, Ordering::Release);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SqlStateStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A parser that splits the bytes from the server into messages. The parser executes a few
/// instructions per message, not per byte.
#[derive(Debug, Default)]
struct MessageReader {
    header: Vec<u8>,
    /// The number of unread bytes of the current message.
    left: usize,
    /// The type and the start of the body of the current message, if it is an error response or a
    /// message about the authentication.
    searched: Option<(u8, Vec<u8>)>,
    /// Whether a message has reported that the authentication succeeded.
    is_authenticated: bool,
}

impl MessageReader {
    /// Reads the next bytes and returns the last SQLSTATE among them.
    fn read(&mut self, mut bytes: &[u8]) -> Option<SqlState> {
        let mut found = None;
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (HEADER_BYTES - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if self.header.len() < HEADER_BYTES {
                    break;
                }
                let length =
                    self.header[1..].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                // The length includes the length field itself.
                self.left = length.saturating_sub(HEADER_BYTES - 1);
                let kind = self.header[0];
                let is_searched = matches!(kind, ERROR_RESPONSE | AUTHENTICATION);
                self.searched = is_searched.then(|| (kind, Vec::new()));
                self.header.clear();
            }
            let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= body.len();
            bytes = rest;
            if let Some((kind, start)) = &mut self.searched {
                let searched = SEARCHED_BYTES.saturating_sub(start.len()).min(body.len());
                start.extend_from_slice(&body[..searched]);
                if self.left == 0 {
                    if *kind == ERROR_RESPONSE {
                        found = find_code(start).or(found);
                    } else {
                        self.is_authenticated |= *start == AUTHENTICATED;
                    }
                    self.searched = None;
                }
            }
        }
        found
    }
}

/// Returns the SQLSTATE of an error response. Each field consists of a type byte and a
/// zero-terminated text.
fn find_code(error: &[u8]) -> Option<SqlState> {
    error.split(|byte| *byte == 0).find_map(|field| match field {
        [CODE_FIELD, code @ ..] => code.try_into().ok().map(SqlState),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
        [&[kind], length.as_slice(), body].concat()
    }

    fn error(code: &str, text: &str) -> Vec<u8> {
        let body = format!("SFEHLER\0VERROR\0C{code}\0M{text}\0\0");
        message(ERROR_RESPONSE, body.as_bytes())
    }

    #[test]
    fn code_is_found_wherever_the_bytes_are_split() {
        let row = message(b'D', b"C12345\0E");
        let empty = message(b'n', b"");
        let long = error("25006", &"x".repeat(10_000));
        let bytes = [row.clone(), empty, long, row].concat();
        for chunk in 1..=bytes.len() {
            let mut reader = MessageReader::default();
            let codes: Vec<_> =
                bytes.chunks(chunk).filter_map(|bytes| reader.read(bytes)).collect();
            let codes: Vec<_> = codes.iter().map(SqlState::as_str).collect();
            assert_eq!(codes, ["25006"], "chunks of {chunk} bytes");
        }
    }

    #[test]
    fn last_of_several_errors_is_found() {
        let bytes = [error("42P01", "a"), error("57P01", "b")].concat();
        let code = MessageReader::default().read(&bytes).expect("a code");
        assert_eq!(code.as_str(), "57P01");
    }

    #[test]
    fn end_of_the_authentication_is_found() {
        let request = [&10_u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat();
        for (messages, expected) in [
            (vec![message(AUTHENTICATION, &request)], false),
            (vec![message(AUTHENTICATION, &3_u32.to_be_bytes())], false),
            (vec![error("28P01", "a")], false),
            (vec![message(AUTHENTICATION, &request), message(AUTHENTICATION, &[0; 4])], true),
            (vec![message(AUTHENTICATION, &[0; 4]), error("3D000", "b")], true),
        ] {
            let bytes = messages.concat();
            for chunk in 1..=bytes.len() {
                let mut reader = MessageReader::default();
                for bytes in bytes.chunks(chunk) {
                    reader.read(bytes);
                }
                assert_eq!(reader.is_authenticated, expected, "{bytes:?}, chunks of {chunk}");
            }
        }
    }
}
