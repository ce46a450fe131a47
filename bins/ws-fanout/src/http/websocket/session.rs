//! The session of one WebSocket: reads, decodes and writes until the socket is closed.

use std::{
    future::poll_fn, io::ErrorKind, net::Shutdown, pin::pin, rc::Rc, task::Poll, time::Instant,
};

use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use mayfly_auth::TOKEN_BYTES_MAX;
use mayfly_core::frame::{ForbiddenNames, ServerFrame};
use metrics::counter;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use super::{
    client_frames::{handle_incoming, reply, reply_error},
    frame_rate::FrameRate,
    opening::FirstFrame,
};
use crate::{
    http::client_frame::{ConnectRequest, FrameError, Secret},
    metrics as names,
    websocket::{Close, CloseCode, Decoder, Incoming, MESSAGE_BYTES_MAX},
    worker::{Stage, Worker, WorkerContext},
};

/// Maximum length of the first frame, in bytes, if the server waits for one. Enough for the maximum
/// number of channels, hosts and ASCII video IDs of maximum length.
const FIRST_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Maximum length of an `auth` frame, in bytes.
const AUTH_BYTES_MAX: usize = TOKEN_BYTES_MAX + 1024;

pub(super) struct WebSocketSession {
    pub(super) context: Rc<WorkerContext>,
    pub(super) key: usize,
    /// The address of the client.
    pub(super) address: Box<str>,
    pub(super) phase: Phase,
    socket: Rc<TcpStream>,
    decoder: Decoder,
    frame_rate: FrameRate,
    /// Received bytes that have not been decoded, because the client must first read the replies to
    /// earlier frames, or because the connection must first start or authenticate the client.
    received: Bytes,
}

/// The way in which a session handles the next message.
#[derive(Default)]
pub(super) enum Phase {
    /// Messages are handled as they arrive.
    #[default]
    Open,
    /// The next message must be the first frame. Fields that the frame does not contain are taken
    /// from `defaults`, which occupies `bytes` bytes.
    AwaitsFirstFrame { defaults: ConnectRequest, bytes: usize },
    /// The first frame, of `bytes` bytes, was received.
    HasFirstFrame { frame: Box<FirstFrame>, bytes: usize },
    /// An `auth` frame was received.
    HasToken(Secret),
}

/// The condition that wakes a session.
enum Readiness {
    Readable,
    Writable,
    /// Received bytes can be decoded.
    Decodable,
    /// The connection has started to close.
    Closing,
    Closed,
}

impl WebSocketSession {
    pub(super) fn new(
        context: Rc<WorkerContext>,
        key: usize,
        socket: Rc<TcpStream>,
        received: Bytes,
        address: Box<str>,
    ) -> Self {
        let decoder = Decoder::new(AUTH_BYTES_MAX);
        let frame_rate = FrameRate::new(context.hub.settings.fanout.client_frames);
        let phase = Phase::Open;
        let session = Self { context, key, address, phase, socket, decoder, frame_rate, received };
        session.count_input(&mut session.context.worker.borrow_mut());
        session
    }

    /// Updates the counted memory of unprocessed input, including the first frame and its defaults.
    /// Input of up to [`MESSAGE_BYTES_MAX`] bytes does not count, nor does the input of a connection
    /// that is closing, because the session discards it next.
    pub(super) fn count_input(&self, worker: &mut Worker) {
        let connection = &mut worker.connections[self.key];
        let frame = match &self.phase {
            Phase::AwaitsFirstFrame { bytes, .. } | Phase::HasFirstFrame { bytes, .. } => *bytes,
            Phase::HasToken(token) => token.expose().len(),
            Phase::Open => 0,
        };
        let bytes = self.decoder.buffered_bytes() + self.received.len() + frame;
        let is_counted = bytes > MESSAGE_BYTES_MAX && connection.is_open();
        connection.input.set(if is_counted { bytes } else { 0 });
    }

    /// Makes the next message the first frame, and decodes the bytes in `received`.
    pub(super) fn expect_first_frame(&mut self, defaults: ConnectRequest) {
        let bytes = defaults.size_bytes();
        self.phase = Phase::AwaitsFirstFrame { defaults, bytes };
        self.decoder.limit_messages(FIRST_FRAME_BYTES_MAX);
        self.decode_received();
    }

    /// Returns whether the connection waits for its first frame.
    pub(super) fn awaits_first_frame(&self) -> bool {
        matches!(self.phase, Phase::AwaitsFirstFrame { .. }) && self.is_open()
    }

    fn is_open(&self) -> bool {
        self.context.worker.borrow().connections[self.key].is_open()
    }

    /// Waits until `hello` is queued or the connection closes. The session does not read client
    /// frames before then.
    pub(super) async fn wait_for_hello(&self) {
        poll_fn(|cx| {
            let mut worker = self.context.worker.borrow_mut();
            let connection = &mut worker.connections[self.key];
            connection.register_task(cx);
            if connection.stage == Stage::Starting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Serves the socket until it is closed.
    pub(super) async fn run(&mut self) {
        loop {
            self.run_until(|session| matches!(session.phase, Phase::HasToken(_))).await;
            match std::mem::take(&mut self.phase) {
                Phase::HasToken(token) => {
                    self.renew(token).await;
                    self.count_input(&mut self.context.worker.borrow_mut());
                }
                // The socket is closed.
                Phase::Open | Phase::AwaitsFirstFrame { .. } | Phase::HasFirstFrame { .. } => {
                    return;
                }
            }
        }
    }

    /// Serves the socket until it is closed or `is_done` returns true.
    pub(super) async fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) {
            match self.wait_for_readiness().await {
                Readiness::Readable => {
                    self.read();
                    tokio::task::yield_now().await;
                }
                Readiness::Writable => {
                    self.context.worker.borrow_mut().flush_connection(self.key);
                }
                Readiness::Decodable => {
                    self.decode_received();
                    tokio::task::yield_now().await;
                }
                // Only the client's Close frame still matters.
                Readiness::Closing => self.decoder.skip_messages(),
                Readiness::Closed => return,
            }
        }
    }

    /// Completes some work, and in the meantime writes queued frames, but handles no client frames.
    /// Returns `None` if the socket is closed.
    pub(super) async fn write_until<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let mut worker = self.context.worker.borrow_mut();
            loop {
                let connection = &mut worker.connections[self.key];
                if connection.stage == Stage::Closed {
                    return Poll::Ready(None);
                }
                connection.register_task(cx);
                if !connection.is_blocked || self.socket.poll_write_ready(cx).is_pending() {
                    return Poll::Pending;
                }
                worker.flush_connection(self.key);
            }
        })
        .await
    }

    async fn wait_for_readiness(&self) -> Readiness {
        poll_fn(|cx| {
            let mut worker = self.context.worker.borrow_mut();
            let connection = &mut worker.connections[self.key];
            if connection.stage == Stage::Closed {
                return Poll::Ready(Readiness::Closed);
            }
            if connection.stage == Stage::Closing && !self.decoder.skips_messages() {
                return Poll::Ready(Readiness::Closing);
            }
            connection.register_task(cx);
            if connection.is_blocked && self.socket.poll_write_ready(cx).is_ready() {
                return Poll::Ready(Readiness::Writable);
            }
            // Back-pressure: the server does not read from a client that does not read the replies
            // to its frames.
            if !connection.accepts_input() {
                return Poll::Pending;
            }
            if !self.received.is_empty() {
                return Poll::Ready(Readiness::Decodable);
            }
            if self.socket.poll_read_ready(cx).is_ready() {
                return Poll::Ready(Readiness::Readable);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads from the socket once and decodes the received bytes. A single read per call prevents
    /// one client from monopolizing the worker.
    fn read(&mut self) {
        let context = Rc::clone(&self.context);
        let mut buffer = context.read_buffer.borrow_mut();
        match self.socket.try_read(&mut buffer) {
            Ok(bytes @ 1..) => {
                let decoded = self.decode(&buffer[..bytes]);
                self.received = Bytes::copy_from_slice(&buffer[decoded..bytes]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => context.worker.borrow_mut().connections[self.key].mark_closed(),
        }
    }

    /// Decodes the bytes in `received`.
    pub(super) fn decode_received(&mut self) {
        let received = std::mem::take(&mut self.received);
        let decoded = self.decode(&received);
        self.received = received.slice(decoded..);
        self.count_input(&mut self.context.worker.borrow_mut());
    }

    /// Decodes received bytes, handles complete frames and writes the replies. Replies can be much
    /// larger than frames, so a single call produces only a limited number of them. Returns the
    /// number of decoded bytes.
    fn decode(&mut self, bytes: &[u8]) -> usize {
        let context = Rc::clone(&self.context);
        let mut worker = context.worker.borrow_mut();
        let decoded = self.decode_frames(&mut worker, bytes);
        worker.flush();
        self.count_input(&mut worker);
        decoded
    }

    /// Decodes received bytes and handles complete frames until too many replies are queued, a
    /// frame with credentials is received or the connection closes. Returns the number of decoded
    /// bytes.
    fn decode_frames(&mut self, worker: &mut Worker, bytes: &[u8]) -> usize {
        let key = self.key;
        if !worker.connections[key].is_open() {
            if contains_close(&mut self.decoder, bytes) {
                let connection = &mut worker.connections[key];
                connection.is_close_handshake_done = true;
                connection.flush();
            }
            return bytes.len();
        }
        let now = Instant::now();
        let frames_left = self.frame_rate.left(now);
        self.decoder.limit_frames(frames_left);
        let phase = &mut self.phase;
        let decoded = self.decoder.decode(bytes, |incoming| {
            handle_incoming(worker, key, incoming, phase);
            let connection = &worker.connections[key];
            let has_credentials = matches!(phase, Phase::HasFirstFrame { .. } | Phase::HasToken(_));
            connection.is_open() && connection.accepts_input() && !has_credentials
        });
        self.frame_rate.count(frames_left, self.decoder.frames_left(), now);
        if matches!(self.phase, Phase::HasFirstFrame { .. }) {
            self.decoder.limit_messages(AUTH_BYTES_MAX);
        }
        match decoded {
            Ok(decoded) => decoded,
            Err(close) => {
                if close.code == CloseCode::Overloaded {
                    counter!(names::CLIENT_LIMITS_EXCEEDED_TOTAL, "limit" => "frames").increment(1);
                }
                worker.close(key, &close);
                worker.flush();
                if worker.connections[key].send_queue.is_empty() {
                    // After a protocol error, nothing is decoded, not even the client's Close
                    // frame. The server therefore shuts down its side of the socket, and the client
                    // closes the connection.
                    let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Write);
                }
                bytes.len()
            }
        }
    }

    /// Replies to an `auth` frame that its credentials are accepted.
    pub(super) fn report_renewal(&self) {
        let mut worker = self.context.worker.borrow_mut();
        let expires_at = worker.connections[self.key].credential.ends_at();
        reply(&mut worker, self.key, &ServerFrame::Authenticated { expires_at });
        worker.flush();
    }

    /// Sends an `error` frame if the credentials in an `auth` frame do not allow some names.
    pub(super) fn report_forbidden(&self, names: ForbiddenNames) {
        if !names.is_empty() {
            self.report_error(FrameError::forbidden(names).reply_to("auth"));
        }
    }

    pub(super) fn report_error(&self, error: FrameError) {
        let mut worker = self.context.worker.borrow_mut();
        reply_error(&mut worker, self.key, error);
        worker.flush();
    }

    pub(super) fn close(&self, close: &Close) {
        let mut worker = self.context.worker.borrow_mut();
        worker.close(self.key, close);
        worker.flush();
    }

    /// Shuts down the socket gracefully, so that the client receives all written bytes instead of a
    /// reset.
    pub(super) async fn shut_down(self) {
        if let Ok(mut socket) = Rc::try_unwrap(self.socket) {
            let _ = socket.shutdown().await;
        }
    }
}

/// Returns whether the bytes contain a Close frame or violate the protocol. All other frames are
/// ignored while the connection closes.
fn contains_close(decoder: &mut Decoder, bytes: &[u8]) -> bool {
    let mut found = false;
    let result = decoder.decode(bytes, |incoming| {
        found |= matches!(incoming, Incoming::Close(_));
        !found
    });
    found || result.is_err()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        frames::Encoding,
        hub::Hub,
        subscription::{NewSubscription, Subscription},
        worker::Sink,
    };

    /// Opens a session and returns it with the socket of its client.
    async fn open(
        env: &[(&str, &str)],
        subscription: Subscription,
    ) -> (WebSocketSession, TcpStream) {
        let context = WorkerContext::start(&Hub::for_tests(env));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (socket, _) = accepted.expect("the connection is accepted");
        socket.writable().await.expect("the connection is open");
        let socket = Rc::new(socket);
        let sink = Sink::Socket(Rc::clone(&socket));
        let encoding = Encoding::WebSocket;
        let key = context.worker.borrow_mut().register_open(sink, encoding, subscription);
        context.worker.borrow_mut().connections[key].stage = Stage::Live;
        let session = WebSocketSession::new(context, key, socket, Bytes::new(), "".into());
        (session, client.expect("the connection is open"))
    }

    /// Encodes a text frame with a mask of zeros.
    fn text_frame(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat()
    }

    #[actix_web::test]
    async fn other_tasks_run_between_large_replies() {
        let channels = (0..128).map(|number| format!("{number:0>64}")).collect();
        let names = NewSubscription { channels: Some(channels), ..NewSubscription::default() };
        let (mut session, _client) = open(&[], names.try_into().expect("valid names")).await;
        // Each reply is larger than 8 KiB.
        let frame = text_frame(r#"{"type":"subscribe"}"#);
        let decoded = session.decode(&frame.repeat(6));
        assert_eq!(decoded, 2 * frame.len());
        let worker = session.context.worker.borrow();
        assert!(worker.connections[session.key].accepts_input(), "the replies have been written");
    }

    #[actix_web::test]
    async fn names_in_the_query_and_in_the_first_frame_count_as_memory() {
        let (mut session, _client) = open(&[], Subscription::none()).await;
        let counted = |session: &WebSocketSession| {
            session.context.worker.borrow().connections[session.key].memory_bytes()
        };
        let channels = Some(vec!["a".to_owned(); 10_000]);
        session.expect_first_frame(ConnectRequest { channels, ..ConnectRequest::default() });
        assert!(counted(&session) > 10_000 * size_of::<String>());
        session.decode(&text_frame(r#"{"type":"connect","channels":[]}"#));
        assert_eq!(counted(&session), 0, "a short frame does not count");
        assert!(matches!(session.phase, Phase::HasFirstFrame { .. }));
    }

    #[actix_web::test]
    async fn nothing_is_decoded_until_the_client_is_authenticated() {
        let (mut session, _client) = open(&[], Subscription::none()).await;
        let auth = text_frame(r#"{"type":"auth","token":"mf_x"}"#);
        let ping = text_frame(r#"{"type":"ping"}"#);
        assert_eq!(session.decode(&[&auth[..], &ping].concat()), auth.len());
        let Phase::HasToken(token) = &session.phase else { panic!("no token was received") };
        assert_eq!(token.expose(), "mf_x");
    }

    #[actix_web::test]
    async fn too_many_frames_close_the_connection() {
        let env = [("MAYFLY_FANOUT__CLIENT_FRAMES", "3/hour")];
        let (mut session, _client) = open(&env, Subscription::none()).await;
        let ping = text_frame(r#"{"type":"ping"}"#);
        session.decode(&ping.repeat(3));
        assert!(session.is_open());
        session.decode(&ping);
        assert!(!session.is_open());
    }
}
