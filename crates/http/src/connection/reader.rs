//! Reads requests. The reader tracks request framing and passes a head to the HTTP library only
//! after the head is complete or reaches the size limit.
//!
//! The HTTP library parses an incomplete head from the start whenever more bytes arrive, so parsing
//! a head that arrives in many small parts would take quadratic time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    ConnectionState,
    head::{BodyFraming, Head, find_head_end},
};
use crate::{BodyMemory, Code, Problem, metrics as names};

/// Size at which a partial head is no longer held, in bytes. The HTTP library rejects a partial
/// head of this size.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Minimum free space to reserve in the buffer before a read, in bytes.
const READ_BYTES: usize = 8 * 1024;
/// The request that replaces the held bytes. The middleware rejects this request.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The reading side of a connection.
#[derive(Debug)]
pub(super) struct RequestReader {
    head_timeout: Duration,
    /// The timeout for the rest of a partial head. Created when the reader first waits for the
    /// rest.
    head_timer: Option<Pin<Box<Sleep>>>,
    position: RequestPosition,
    /// Received bytes that have not been passed on yet: part of a head, pipelined requests, or
    /// bytes after an upgrade request.
    held: BytesMut,
    /// The number of bytes at the start of `held` that can be passed on.
    admitted: usize,
    /// The number of bytes at the start of `held` that are known not to contain the end of a head.
    searched: usize,
    /// The memory reserved for the held bytes. It counts toward the memory budget for request
    /// bodies.
    memory: BodyMemory,
}

/// The position in the stream of requests.
#[derive(Debug)]
enum RequestPosition {
    Head,
    Body(BodyFraming),
    /// After the last request: the connection is about to be closed.
    End,
}

/// A head that must be replaced before it is passed on.
struct ReplacedHead {
    /// The length of the original head, in bytes.
    length: usize,
    replacement: Vec<u8>,
}

impl RequestReader {
    pub(super) fn new(head_timeout: Duration, memory: BodyMemory) -> Self {
        Self {
            head_timeout,
            head_timer: None,
            position: RequestPosition::Head,
            held: BytesMut::new(),
            admitted: 0,
            searched: 0,
            memory,
        }
    }

    /// Returns the received bytes that have not been passed on yet.
    pub(super) fn into_held(self) -> BytesMut {
        self.held
    }

    pub(super) fn poll_read(
        &mut self,
        socket: &mut TcpStream,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.pass_on(buf);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if self.must_wait_to_read(state) {
                // The time limit for a head does not include the wait for earlier requests.
                self.head_timer = None;
                state.wait_to_read(cx.waker());
                return Poll::Pending;
            }
            if self.admit_held(state) {
                continue;
            }
            let is_open = if self.held.is_empty() {
                ready!(self.read_directly(socket, state, cx, buf))?
            } else {
                ready!(self.read_held(socket, state, cx))?
            };
            // If the client has closed its side of the connection, a partial head is discarded.
            if !is_open {
                return Poll::Ready(Ok(()));
            }
            if self.admitted == 0
                && let Err(problem) = self.memory.resize(self.held.capacity())
            {
                self.reject_held(state, problem);
            }
        }
    }

    /// Passes on as many admitted bytes as fit into `buf`.
    fn pass_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.admitted.min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.held[..count]);
            self.held.advance(count);
            self.admitted -= count;
        }
        if self.held.is_empty() && self.held.capacity() > 0 {
            // An idle connection holds no memory.
            self.held = BytesMut::new();
            self.memory.clear();
        }
    }

    /// Returns whether the reader must stop passing on bytes for now, because earlier requests must
    /// start first or the connection is about to be closed.
    fn must_wait(&self, state: &ConnectionState) -> bool {
        match self.position {
            RequestPosition::Head => !state.accepts_request(0),
            // If the connection is upgraded, the request handler receives the held bytes.
            // Otherwise, the HTTP library reads them as the body. Which case applies is known only
            // after the request starts.
            RequestPosition::Body(BodyFraming::Endless) => !state.has_started_all(),
            RequestPosition::Body(_) => false,
            RequestPosition::End => true,
        }
    }

    /// Returns whether the reader must stop reading from the socket for now. Stops when many bytes
    /// are held or wait in the HTTP library, unless all earlier requests have ended.
    fn must_wait_to_read(&self, state: &ConnectionState) -> bool {
        match self.position {
            RequestPosition::Head => !state.accepts_request(self.held.len()),
            RequestPosition::Body(BodyFraming::Length(_) | BodyFraming::Chunked(_)) => {
                !state.accepts_body()
            }
            RequestPosition::Body(BodyFraming::Endless) | RequestPosition::End => {
                self.must_wait(state)
            }
        }
    }

    /// Reads into the buffer of the HTTP library, and holds the bytes that cannot be passed on yet.
    /// Returns `false` if the client has closed its side of the connection.
    fn read_directly(
        &mut self,
        socket: &mut TcpStream,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(socket).poll_read(cx, buf))?;
        let bytes = &buf.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let (admitted, replaced) = self.admit(bytes, state);
        self.hold(&bytes[admitted..], replaced);
        buf.set_filled(before + admitted);
        Poll::Ready(Ok(true))
    }

    /// Reads the bytes that follow the held part of a head. Replaces the head if it is late.
    /// Returns `false` if the client has closed its side of the connection.
    fn read_held(
        &mut self,
        socket: &mut TcpStream,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        while let Poll::Ready(is_ready) = socket.poll_read_ready(cx) {
            is_ready?;
            self.held.reserve(READ_BYTES);
            match socket.try_read_buf(&mut self.held) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|count| count > 0)),
            }
        }
        let timeout = self.head_timeout;
        let timer = self.head_timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        self.replace_late_head(state);
        Poll::Ready(Ok(true))
    }

    /// Admits held bytes. Returns whether any bytes were admitted.
    fn admit_held(&mut self, state: &ConnectionState) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let held = std::mem::take(&mut self.held);
        match self.admit(&held, state) {
            (0, Some(replaced)) => self.hold(&held, Some(replaced)),
            // A head that must be replaced is found again after the bytes before it have been
            // passed on.
            (admitted, _) => {
                self.held = held;
                self.admitted = admitted;
            }
        }
        self.admitted > 0
    }

    /// Replaces the held bytes with `bytes`. If `replaced` is `Some`, replaces the head at the
    /// start of `bytes` and admits the replacement.
    fn hold(&mut self, bytes: &[u8], replaced: Option<ReplacedHead>) {
        self.held.clear();
        let length = replaced.map_or(0, |ReplacedHead { length, replacement }| {
            self.held.extend_from_slice(&replacement);
            self.admitted = replacement.len();
            length
        });
        self.held.extend_from_slice(&bytes[length..]);
    }

    /// Replaces a head that was still incomplete when the timeout expired, and counts the closed
    /// connection.
    fn replace_late_head(&mut self, state: &ConnectionState) {
        metrics::counter!(
            names::HTTP_CONNECTIONS_CLOSED_TOTAL,
            "reason" => names::CLOSED_HEAD_TIMEOUT
        )
        .increment(1);
        let detail = "The server did not receive the complete request headers in time. Send the \
                      request again over a faster connection.";
        self.replace_head(state, Problem::new(Code::RequestTimeout).detail(detail));
    }

    /// Discards the held bytes, and rejects the request that they belong to with `problem`.
    fn reject_held(&mut self, state: &ConnectionState, problem: Problem) {
        if matches!(self.position, RequestPosition::Body(_)) {
            // The bytes follow an upgrade request, whose head cannot be replaced anymore. The
            // request has not started, because its bytes would not be held otherwise.
            state.reject_last_request(problem);
            self.held = BytesMut::new();
            self.memory.clear();
        } else {
            self.replace_head(state, problem);
        }
    }

    /// Replaces the held bytes with a request that the middleware rejects with `problem`. The
    /// connection is then closed.
    fn replace_head(&mut self, state: &ConnectionState, problem: Problem) {
        state.add_request(REPLACEMENT.len(), Some(problem));
        self.head_timer = None;
        self.position = RequestPosition::End;
        self.hold(&[], Some(ReplacedHead { length: 0, replacement: REPLACEMENT.to_vec() }));
    }

    /// Advances through `bytes` and returns how many of them can be passed on. Stops before a head
    /// that must be replaced. If that head is at the start, also returns its replacement.
    fn admit(&mut self, bytes: &[u8], state: &ConnectionState) -> (usize, Option<ReplacedHead>) {
        let mut at = 0;
        let mut searched = std::mem::take(&mut self.searched);
        while at < bytes.len() && !self.must_wait(state) {
            let rest = &bytes[at..];
            match &mut self.position {
                RequestPosition::Head => {
                    let end = find_head_end(rest, searched);
                    if end.is_none() && rest.len() < HEAD_BYTES_MAX {
                        self.searched = rest.len();
                        break;
                    }
                    if !state.accepts_request(end.unwrap_or(rest.len())) {
                        break;
                    }
                    let Some(length) = end else {
                        // The HTTP library rejects a head of this size and closes the connection.
                        self.position = RequestPosition::Body(BodyFraming::Endless);
                        return (bytes.len(), None);
                    };
                    searched = 0;
                    let head = Head::parse(&rest[..length]);
                    if head.invalid_target.is_some() || head.without_upgrade.is_some() {
                        if at > 0 {
                            // The bytes before the head are passed on first.
                            break;
                        }
                        let bytes = head.without_upgrade.as_deref().unwrap_or(&rest[..length]);
                        let (replacement, rejection) = match head.invalid_target {
                            Some(target) => (target.replace_in(bytes), Some(target.into_problem())),
                            None => (bytes.to_vec(), None),
                        };
                        self.begin_body(head.body);
                        state.add_request(replacement.len(), rejection);
                        return (0, Some(ReplacedHead { length, replacement }));
                    }
                    self.begin_body(head.body);
                    state.add_request(length, None);
                    at += length;
                }
                RequestPosition::Body(BodyFraming::Length(left)) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    state.add_body(taken);
                    at += taken;
                    if *left == 0 {
                        self.position = RequestPosition::Head;
                    }
                }
                RequestPosition::Body(BodyFraming::Chunked(framing)) => {
                    let (taken, is_complete) = framing.advance(rest);
                    state.add_body(taken);
                    at += taken;
                    if is_complete {
                        self.position = RequestPosition::Head;
                    }
                }
                RequestPosition::Body(BodyFraming::Endless) => at = bytes.len(),
                RequestPosition::End => break,
            }
        }
        (at, None)
    }

    /// Moves to the body that follows a complete head, or to the next head if there is no body.
    fn begin_body(&mut self, body: BodyFraming) {
        self.head_timer = None;
        self.position = match body {
            BodyFraming::Length(0) => RequestPosition::Head,
            body => RequestPosition::Body(body),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connection::UnreadResponses;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

    fn start() -> (RequestReader, ConnectionState) {
        let unread = Arc::new(UnreadResponses::new(1));
        let memory = BodyMemory::new(None);
        (RequestReader::new(Duration::from_secs(1), memory), ConnectionState::new(-1, unread))
    }

    #[test]
    fn complete_requests_are_passed_on_and_a_partial_head_is_not() {
        let (mut reader, state) = start();
        let bytes = [GET, POST, b"GET /part"].concat();
        assert_eq!(reader.admit(&bytes, &state).0, GET.len() + POST.len());
        assert_eq!(reader.searched, b"GET /part".len());
    }

    #[test]
    fn part_of_a_body_is_passed_on() {
        let (mut reader, state) = start();
        for split in POST.len() - 3..POST.len() {
            assert_eq!(reader.admit(&POST[..split], &state).0, split);
            let next = [&POST[split..], GET].concat();
            assert_eq!(reader.admit(&next, &state).0, next.len());
            state.begin_request();
            state.begin_request();
        }
    }

    #[test]
    fn at_most_16_requests_are_passed_on_before_the_first_one_starts() {
        let (mut reader, state) = start();
        let many = GET.repeat(100);
        assert_eq!(reader.admit(&many, &state).0, 16 * GET.len());
        assert_eq!(reader.admit(&many, &state).0, 0);
        state.begin_request();
        state.begin_request();
        assert_eq!(reader.admit(&many, &state).0, 2 * GET.len());
    }

    /// Returns a request with a head of `bytes` bytes.
    fn get_with_head(bytes: usize) -> Vec<u8> {
        let head = "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ";
        format!("{head}{}\r\n\r\n", "x".repeat(bytes - head.len() - 4)).into_bytes()
    }

    #[test]
    fn bytes_of_heads_that_have_not_started_are_bounded() {
        let (mut reader, state) = start();
        let many = get_with_head(3_000).repeat(16);
        // 16 KiB.
        assert_eq!(reader.admit(&many, &state).0, 5 * 3_000);
        reader.hold(&many[5 * 3_000..], None);
        assert!(reader.must_wait_to_read(&state), "the held bytes exceed the maximum");
        for _ in 0..5 {
            assert_eq!(reader.admit(&many, &state).0, 0);
            state.begin_request();
        }
        assert_eq!(reader.admit(&many, &state).0, 5 * 3_000);
    }

    #[test]
    fn large_head_is_passed_on_after_all_earlier_requests_end() {
        let (mut reader, state) = start();
        let large = get_with_head(100_000);
        assert_eq!(reader.admit(&large, &state).0, large.len());
        assert!(reader.must_wait_to_read(&state));
        state.begin_request();
        assert_eq!(reader.admit(&[GET, &large].concat(), &state).0, GET.len());
        reader.hold(&large, None);
        assert!(reader.must_wait_to_read(&state));
        let too_large = vec![b'x'; HEAD_BYTES_MAX];
        assert_eq!(reader.admit(&too_large, &state).0, 0);
        state.begin_request();
        state.end_request();
        assert_eq!(reader.admit(&large, &state).0, 0, "one request is in progress");
        state.end_request();
        assert!(!reader.must_wait_to_read(&state));
        assert_eq!(reader.admit(&large, &state).0, large.len());
    }

    #[test]
    fn rest_of_a_body_is_read_when_a_handler_reads_it_or_the_request_ends() {
        for framing in ["Content-Length: 200000", "Transfer-Encoding: chunked"] {
            let (mut reader, state) = start();
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
            assert_eq!(reader.admit(head.as_bytes(), &state).0, head.len());
            assert!(!reader.must_wait_to_read(&state));
            let part = [b"fffff\r\n".as_slice(), &vec![b'x'; 70_000]].concat();
            assert_eq!(reader.admit(&part, &state).0, part.len());
            assert!(reader.must_wait_to_read(&state), "the request has not started");
            state.expect_body();
            assert!(reader.must_wait_to_read(&state), "the handler is of another request");
            state.begin_request();
            assert!(reader.must_wait_to_read(&state), "the handler has not read the body");
            state.expect_body();
            assert!(!reader.must_wait_to_read(&state));
            assert_eq!(reader.admit(&part[7..], &state).0, part.len() - 7);
            assert!(reader.must_wait_to_read(&state));
            state.end_request();
            assert!(!reader.must_wait_to_read(&state));
        }
    }

    #[test]
    fn bytes_after_an_upgrade_request_are_held_until_the_request_starts() {
        let (mut reader, state) = start();
        let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n";
        let bytes = [upgrade, b"frames".as_slice()].concat();
        assert_eq!(reader.admit(&bytes, &state).0, upgrade.len());
        assert_eq!(reader.admit(b"frames", &state).0, 0);
        state.begin_request();
        assert_eq!(reader.admit(b"frames", &state).0, 6);
    }

    #[test]
    fn request_with_an_invalid_target_is_replaced_and_rejected_in_order() {
        let (mut reader, state) = start();
        let bytes = [GET, b"GET /<id> HTTP/1.1\r\nHost: x\r\n\r\n", GET].concat();
        let (admitted, replaced) = reader.admit(&bytes, &state);
        assert!(admitted == GET.len() && replaced.is_none());
        let (_, replaced) = reader.admit(&bytes[admitted..], &state);
        let replaced = replaced.expect("the head is replaced");
        assert!(replaced.replacement.starts_with(b"GET /%3Cid%3E HTTP/1.1\r\nHost: x\r\n"));
        assert_eq!(reader.admit(&bytes[admitted + replaced.length..], &state).0, GET.len());
        assert!(state.begin_request().is_none());
        assert!(state.begin_request().is_some_and(|problem| problem.code() == Code::InvalidField));
        assert!(state.begin_request().is_none());
    }
}
