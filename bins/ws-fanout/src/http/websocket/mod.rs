//! The session of one WebSocket, from the accepted handshake until the socket is closed.

mod client_frames;

use std::{
    future::poll_fn, io::ErrorKind, net::Shutdown, pin::pin, rc::Rc, task::Poll, time::Duration,
};

use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use mayfly_core::frame::ServerFrame;
use mayfly_http::UpgradedSocket;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use self::client_frames::{handle_client_frame, reply};
use super::{
    client_frame::{ClientFrame, ConnectRequest, FrameError, Start},
    query::LiveQuery,
};
use crate::{
    frames::Encoding,
    hub::ConnectionPermit,
    resume,
    subscription::Subscription,
    websocket::{
        Close, CloseCode, Decoder, Incoming, MESSAGE_BYTES_MAX, encode_close_reply, encode_pong,
    },
    worker::{Sink, Stage, Worker, WorkerContext},
};

/// How long a client may take to send its `connect` frame.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of a `connect` frame, in bytes. Enough for the maximum number of channels, hosts
/// and ASCII video IDs of maximum length.
const CONNECT_BYTES_MAX: usize = 64 * 1024;

/// Serves a WebSocket until it is closed. If `query` is an error, closes the WebSocket with the
/// close code in the error, because scripts can read a close code but not the response to a
/// rejected upgrade.
pub(super) async fn serve_websocket(
    context: Rc<WorkerContext>,
    upgraded: UpgradedSocket,
    query: Result<LiveQuery, Close>,
    _permit: ConnectionPermit,
) {
    let socket = Rc::new(upgraded.socket);
    let sink = Sink::Socket(Rc::clone(&socket));
    let (subscription, opening) = match query {
        Ok(LiveQuery::Start(start)) => (start.subscription, Opening::Resolved(start.since)),
        Ok(LiveQuery::ConnectFrame(defaults)) => {
            (Subscription::none(), Opening::ConnectFrame(defaults))
        }
        Err(close) => (Subscription::none(), Opening::Rejected(close)),
    };
    let key = context.worker.borrow_mut().register(sink, Encoding::WebSocket, subscription);
    let mut registration = Registration { context: Rc::clone(&context), key, resume_task: None };
    let mut session = WebSocketSession::new(context, key, socket, upgraded.received);
    match opening {
        Opening::Resolved(since) => registration.start(since),
        Opening::ConnectFrame(defaults) => {
            if let Some(since) = session.wait_for_connect(defaults).await {
                registration.start(since);
            }
        }
        Opening::Rejected(close) => session.close(&close),
    }
    session.wait_for_hello().await;
    session.decode_received();
    session.run().await;
    drop(registration);
    session.shut_down().await;
}

/// The outcome of the query, which determines how a connection starts.
enum Opening {
    /// The connection starts immediately and resumes from this position, if present.
    Resolved(Option<String>),
    /// The connection starts with a `connect` frame. Fields that the frame does not contain are
    /// taken from this request.
    ConnectFrame(ConnectRequest),
    /// The connection does not start and is closed.
    Rejected(Close),
}

struct WebSocketSession {
    context: Rc<WorkerContext>,
    key: usize,
    socket: Rc<TcpStream>,
    decoder: Decoder,
    /// Received bytes that have not been decoded, because the client must first read the replies to
    /// earlier frames, or because the connection must first start.
    received: Bytes,
    connect: Connect,
}

/// The state of the `connect` frame.
enum Connect {
    /// No `connect` frame is expected.
    Done,
    /// The next message must be the `connect` frame. Fields that the frame does not contain are
    /// taken from `defaults`, which occupies `bytes` bytes.
    Awaited { defaults: ConnectRequest, bytes: usize },
    /// The frame was received. Holds the position to resume from, if any.
    Received(Option<String>),
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
    fn new(context: Rc<WorkerContext>, key: usize, socket: Rc<TcpStream>, received: Bytes) -> Self {
        let decoder = Decoder::new(MESSAGE_BYTES_MAX);
        let session = Self { context, key, socket, decoder, received, connect: Connect::Done };
        session.count_input(&mut session.context.worker.borrow_mut());
        session
    }

    /// Updates the counted memory of unprocessed input, including the defaults for the `connect`
    /// frame. Input of up to [`MESSAGE_BYTES_MAX`] bytes does not count, nor does the input of a
    /// connection that is closing, because the session discards it next.
    fn count_input(&self, worker: &mut Worker) {
        let connection = &mut worker.connections[self.key];
        let defaults = match self.connect {
            Connect::Awaited { bytes, .. } => bytes,
            Connect::Done | Connect::Received(_) => 0,
        };
        let bytes = self.decoder.buffered_bytes() + self.received.len() + defaults;
        let is_counted = bytes > MESSAGE_BYTES_MAX && connection.is_open();
        connection.input.set(if is_counted { bytes } else { 0 });
    }

    /// Waits for the `connect` frame and applies its subscription. Rejects the connection if the
    /// frame does not arrive in time. Returns `None` if the connection does not start, and
    /// otherwise the position to resume from, if any.
    async fn wait_for_connect(&mut self, defaults: ConnectRequest) -> Option<Option<String>> {
        self.expect_connect(defaults);
        let in_time = {
            let run = pin!(self.run_until(|session| !session.awaits_connect()));
            tokio::time::timeout(CONNECT_TIMEOUT, run).await.is_ok()
        };
        if !in_time && self.awaits_connect() {
            let message = format!("no connect frame arrived within {CONNECT_TIMEOUT:?}");
            let mut worker = self.context.worker.borrow_mut();
            reject_connect(&mut worker, self.key, FrameError { code: "request_timeout", message });
            worker.flush();
        }
        match std::mem::replace(&mut self.connect, Connect::Done) {
            Connect::Received(since) => Some(since),
            Connect::Done | Connect::Awaited { .. } => None,
        }
    }

    /// Makes the next message the `connect` frame, and decodes the bytes in `received`.
    fn expect_connect(&mut self, defaults: ConnectRequest) {
        let bytes = defaults.size_bytes();
        self.connect = Connect::Awaited { defaults, bytes };
        self.decoder.limit_messages(CONNECT_BYTES_MAX);
        self.decode_received();
    }

    /// Returns whether the connection waits for its `connect` frame.
    fn awaits_connect(&self) -> bool {
        matches!(self.connect, Connect::Awaited { .. })
            && self.context.worker.borrow().connections[self.key].is_open()
    }

    /// Waits until `hello` is queued or the connection closes. The session does not read client
    /// frames before then.
    async fn wait_for_hello(&self) {
        poll_fn(|cx| {
            let mut worker = self.context.worker.borrow_mut();
            let connection = &mut worker.connections[self.key];
            connection.register_task(cx);
            if connection.stage == Stage::Starting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    async fn run(&mut self) {
        self.run_until(|_| false).await;
    }

    /// Serves the socket until it is closed or `is_done` returns true.
    async fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
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
    fn decode_received(&mut self) {
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
    /// `connect` frame is received or the connection closes. Returns the number of decoded bytes.
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
        let connect = &mut self.connect;
        let decoded = self.decoder.decode(bytes, |incoming| {
            handle_incoming(worker, key, incoming, connect);
            let connection = &worker.connections[key];
            let has_started = matches!(connect, Connect::Received(_));
            connection.is_open() && connection.accepts_input() && !has_started
        });
        if matches!(self.connect, Connect::Received(_)) {
            self.decoder.limit_messages(MESSAGE_BYTES_MAX);
        }
        match decoded {
            Ok(decoded) => decoded,
            Err(close) => {
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

    fn close(&self, close: &Close) {
        let mut worker = self.context.worker.borrow_mut();
        worker.close(self.key, close);
        worker.flush();
    }

    /// Shuts down the socket gracefully, so that the client receives all written bytes instead of a
    /// reset.
    async fn shut_down(self) {
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

/// The registration of a connection with its worker, removed on drop.
struct Registration {
    context: Rc<WorkerContext>,
    key: usize,
    /// The task that sends `hello` and the replay.
    resume_task: Option<JoinHandle<()>>,
}

impl Registration {
    /// Starts the task that sends `hello` and the replay.
    fn start(&mut self, since: Option<String>) {
        self.resume_task = Some(resume::start(&self.context, self.key, since));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(resume_task) = &self.resume_task {
            resume_task.abort();
        }
        self.context.worker.borrow_mut().remove(self.key);
    }
}

fn handle_incoming(worker: &mut Worker, key: usize, incoming: Incoming, connect: &mut Connect) {
    match incoming {
        Incoming::Text(text) => match std::mem::replace(connect, Connect::Done) {
            Connect::Awaited { defaults, .. } => match parse_connect(&text, defaults) {
                Ok(start) => {
                    worker.change_subscription(key, start.subscription);
                    *connect = Connect::Received(start.since);
                }
                Err(error) => reject_connect(worker, key, error),
            },
            Connect::Done | Connect::Received(_) => handle_client_frame(worker, key, &text),
        },
        Incoming::Ping(payload) => worker.send_reply(key, encode_pong(&payload)),
        Incoming::Pong => worker.connections[key].pong_deadline = None,
        Incoming::Close(code) => worker.close_by_client(key, code, encode_close_reply(code)),
    }
}

fn parse_connect(text: &str, defaults: ConnectRequest) -> Result<Start, FrameError> {
    let ClientFrame::Connect(request) = ClientFrame::parse(text)? else {
        let message = "type must be connect in the first frame".to_owned();
        return Err(FrameError { code: "invalid_field", message });
    };
    Ok(Start::try_from(request.or(defaults))?)
}

/// Rejects a connection: sends an `error` frame and closes the connection with the same reason.
fn reject_connect(worker: &mut Worker, key: usize, error: FrameError) {
    let code = match error.code {
        "too_many_channels" => CloseCode::TooManyChannels,
        // The client may have been busy or suspended, so this code permits a reconnection.
        "request_timeout" => CloseCode::NoPong,
        _ => CloseCode::BadRequest,
    };
    let close = Close::with_reason(code, error.message.clone());
    reply(worker, key, &ServerFrame::Error { code: error.code, message: error.message });
    worker.close(key, &close);
}

#[cfg(test)]
mod tests {
    use std::{iter, sync::Arc};

    use mayfly_hot::HotStore;
    use mayfly_runtime::{Lifecycle, Settings};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{hub::Hub, subscription::NewSubscription};

    /// Opens a session and returns it with the socket of its client.
    async fn open(subscription: Subscription) -> (WebSocketSession, TcpStream) {
        let settings = Settings::from_layers(None, iter::empty()).expect("valid settings");
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        let hub = Hub::new(hot, Arc::new(settings), Lifecycle::new(Duration::from_secs(1)));
        let context = WorkerContext::start(&hub);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (socket, _) = accepted.expect("the connection is accepted");
        socket.writable().await.expect("the connection is open");
        let socket = Rc::new(socket);
        let sink = Sink::Socket(Rc::clone(&socket));
        let key = context.worker.borrow_mut().register(sink, Encoding::WebSocket, subscription);
        context.worker.borrow_mut().connections[key].stage = Stage::Live;
        let session = WebSocketSession::new(context, key, socket, Bytes::new());
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
        let (mut session, _client) = open(names.try_into().expect("valid names")).await;
        // Each reply is larger than 8 KiB.
        let frame = text_frame(r#"{"type":"subscribe"}"#);
        let decoded = session.decode(&frame.repeat(6));
        assert_eq!(decoded, 2 * frame.len());
        let worker = session.context.worker.borrow();
        assert!(worker.connections[session.key].accepts_input(), "the replies have been written");
    }

    #[actix_web::test]
    async fn names_in_the_query_count_as_memory_until_the_connect_frame() {
        let (mut session, _client) = open(Subscription::none()).await;
        let counted = |session: &WebSocketSession| {
            session.context.worker.borrow().connections[session.key].memory_bytes()
        };
        let channels = Some(vec!["a".to_owned(); 10_000]);
        session.expect_connect(ConnectRequest { channels, ..ConnectRequest::default() });
        assert!(counted(&session) > 10_000 * size_of::<String>());
        session.decode(&text_frame(r#"{"type":"connect","channels":[]}"#));
        assert_eq!(counted(&session), 0);
    }
}
