//! A WebSocket client for the live feeds. It can also misbehave: send invalid frames, read late or
//! not at all, and reset the connection.

mod events;
mod fanout;
mod latency;
mod received_frame;
mod resuming_client;
mod trends;
mod upgrade;
mod wire;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub use events::{Event, Events};
pub use fanout::{Metrics, peak_rss_bytes, raise_file_limit, rss_bytes};
pub use latency::{Latencies, PacedLoad, now_us};
pub use received_frame::{ReceivedFrame, ReceivedMessage};
pub use resuming_client::ResumingClient;
pub use trends::trend_snapshot;
pub use upgrade::{UpgradeError, UpgradeRequest};
use wire::Frame;
pub use wire::{FIN, close_payload, encode, encode_unmasked, opcode};

use crate::DEFAULT_TIMEOUT;

const READ_BYTES: usize = 4096;

/// An event on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEvent {
    /// A complete text message.
    Text(Bytes),
    /// A ping. It has been answered unless [`LiveSocket::stop_answering`] was called.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame with its code and reason; 1005 stands for a missing code.
    Close(u16, String),
    /// The end of the connection without a close frame.
    Disconnected,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct LiveSocket {
    stream: TcpStream,
    buffer: BytesMut,
    /// The received part of a fragmented message.
    partial: Option<BytesMut>,
    is_answering: bool,
}

impl LiveSocket {
    fn new(stream: TcpStream, buffer: BytesMut) -> Self {
        Self { stream, buffer, partial: None, is_answering: true }
    }

    /// Opens a socket.
    ///
    /// # Panics
    /// If the upgrade fails.
    pub async fn connect(url: &str) -> Self {
        let opened = UpgradeRequest::new(url).send().await;
        opened.unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    /// Opens a socket and reads the `hello` frame.
    ///
    /// # Panics
    /// If the upgrade fails or the first frame is not `hello`.
    pub async fn connect_with_hello(url: &str) -> (Self, Value) {
        let mut live = Self::connect(url).await;
        let hello = live.next_frame().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        (live, hello)
    }

    /// Stops answering pings and close frames.
    pub fn stop_answering(&mut self) {
        self.is_answering = false;
    }

    /// Waits for the next event without a timeout. This is cancel-safe.
    ///
    /// # Panics
    /// If the server violates the protocol.
    pub async fn receive(&mut self) -> SocketEvent {
        loop {
            while let Some(frame) = Frame::take(&mut self.buffer) {
                if let Some(event) = self.process(frame) {
                    self.answer(&event).await;
                    return event;
                }
            }
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return SocketEvent::Disconnected,
                Ok(_) => {}
            }
        }
    }

    fn process(&mut self, frame: Frame) -> Option<SocketEvent> {
        let Frame { fin, opcode, payload } = frame;
        match opcode {
            opcode::PING => Some(SocketEvent::Ping(payload)),
            opcode::PONG => Some(SocketEvent::Pong(payload)),
            opcode::CLOSE => Some(parse_close(&payload)),
            opcode::TEXT if fin => {
                assert!(self.partial.is_none(), "a text frame inside a fragmented message");
                Some(SocketEvent::Text(payload))
            }
            opcode::TEXT => {
                let partial = self.partial.replace(payload.into());
                assert!(partial.is_none(), "a text frame inside a fragmented message");
                None
            }
            opcode::CONTINUATION => {
                let mut message = self.partial.take().expect("a message was started");
                message.extend_from_slice(&payload);
                if fin {
                    return Some(SocketEvent::Text(message.freeze()));
                }
                self.partial = Some(message);
                None
            }
            other => panic!("the server sent a frame with opcode {other}"),
        }
    }

    /// Answers pings and close frames. Ignores a broken connection, which the next read reports.
    async fn answer(&mut self, event: &SocketEvent) {
        let frame = match event {
            _ if !self.is_answering => return,
            SocketEvent::Ping(payload) => encode(FIN | opcode::PONG, payload),
            SocketEvent::Close(1005, _) => encode(FIN | opcode::CLOSE, &[]),
            SocketEvent::Close(code, _) => encode(FIN | opcode::CLOSE, &close_payload(*code, &[])),
            _ => return,
        };
        let _disconnected = self.stream.write_all(&frame).await;
    }

    /// Waits for the next text message without a timeout.
    ///
    /// # Errors
    /// The code and reason when the connection ends; 1006 without a close frame.
    pub async fn next_text(&mut self) -> Result<Bytes, (u16, String)> {
        loop {
            match self.receive().await {
                SocketEvent::Text(text) => return Ok(text),
                SocketEvent::Ping(_) | SocketEvent::Pong(_) => {}
                SocketEvent::Close(code, reason) => return Err((code, reason)),
                SocketEvent::Disconnected => return Err((1006, String::new())),
            }
        }
    }

    /// Waits for the next frame and parses it as JSON.
    ///
    /// # Panics
    /// If no frame is received in time, or if the frame is not JSON.
    #[track_caller]
    pub fn next_frame(&mut self) -> impl Future<Output = Value> {
        self.next_frame_within(DEFAULT_TIMEOUT)
    }

    /// Waits at most `within` for the next frame and parses it as JSON.
    ///
    /// # Panics
    /// If no frame is received in time, or if the frame is not JSON.
    #[track_caller]
    pub fn next_frame_within(&mut self, within: Duration) -> impl Future<Output = Value> {
        // A panic inside the future would report this line instead of the caller's.
        let caller = std::panic::Location::caller();
        async move {
            let text = timeout(within, self.next_text()).await;
            let text = text.unwrap_or_else(|_| panic!("{caller}: no frame within {within:?}"));
            let text = text.unwrap_or_else(|end| panic!("{caller}: closed instead: {end:?}"));
            serde_json::from_slice(&text).expect("a frame is JSON")
        }
    }

    /// Waits for the next frame of a type and skips all others.
    ///
    /// # Panics
    /// If none is received in time.
    #[track_caller]
    pub fn next_of_type(&mut self, kind: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let found = timeout(DEFAULT_TIMEOUT, async {
                loop {
                    let text = self.next_text().await;
                    let text = text.unwrap_or_else(|end| panic!("{caller}: closed: {end:?}"));
                    let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
                    if frame["type"] == kind {
                        return frame;
                    }
                }
            });
            found.await.unwrap_or_else(|_| panic!("{caller}: no {kind} within {DEFAULT_TIMEOUT:?}"))
        }
    }

    /// Returns the texts of the next messages, up to and including `last`. Only `message` and
    /// `position` frames are allowed.
    ///
    /// # Panics
    /// If another frame is received, or no frame in time.
    #[track_caller]
    pub fn texts_until(&mut self, last: &str) -> impl Future<Output = Vec<String>> {
        let caller = std::panic::Location::caller();
        async move {
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != last) {
                let text = timeout(DEFAULT_TIMEOUT, self.next_text_except_positions()).await;
                let text = text
                    .unwrap_or_else(|_| panic!("{caller}: no `{last}`, but {texts:?}"))
                    .unwrap_or_else(|end| panic!("{caller}: closed: {end:?}"));
                let frame = ReceivedFrame::parse(&text);
                assert_eq!(frame.kind, "message", "{caller}: {text:?}");
                texts.push(frame.text().to_owned());
            }
            texts
        }
    }

    /// Waits for the next frame other than `position` without a timeout.
    async fn next_text_except_positions(&mut self) -> Result<Bytes, (u16, String)> {
        loop {
            let text = self.next_text().await?;
            if ReceivedFrame::parse(&text).kind != "position" {
                return Ok(text);
            }
        }
    }

    /// Waits for the end of the connection and returns the close code and reason; 1006 without a
    /// close frame. Skips all other events.
    ///
    /// # Panics
    /// If the connection is not closed in time.
    #[track_caller]
    pub fn next_close(&mut self) -> impl Future<Output = (u16, String)> {
        let caller = std::panic::Location::caller();
        async move {
            let closed = timeout(DEFAULT_TIMEOUT, async {
                loop {
                    if let Err(end) = self.next_text().await {
                        return end;
                    }
                }
            });
            closed
                .await
                .unwrap_or_else(|_| panic!("{caller}: not closed within {DEFAULT_TIMEOUT:?}"))
        }
    }

    /// Returns whether the server closes the TCP connection in time.
    pub async fn is_closed_by_server(&mut self) -> bool {
        let disconnected = async { while self.receive().await != SocketEvent::Disconnected {} };
        timeout(DEFAULT_TIMEOUT, disconnected).await.is_ok()
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a text in one frame.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send_text(&mut self, text: &str) {
        let frame = encode(FIN | opcode::TEXT, text.as_bytes());
        self.send_raw(&frame).await.expect("the connection is open");
    }

    /// Sends JSON and returns the next frame.
    ///
    /// # Panics
    /// If no frame is received in time.
    pub async fn exchange(&mut self, frame: &Value) -> Value {
        self.send_text(&frame.to_string()).await;
        self.next_frame().await
    }

    /// Shuts down the write half of the connection.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn shutdown_write(&mut self) {
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// Reads and discards at most `bytes` bytes. Returns how many were read.
    pub async fn discard(&mut self, bytes: usize) -> usize {
        let mut discarded = vec![0; bytes];
        self.stream.read(&mut discarded).await.unwrap_or(0)
    }

    /// Performs the closing handshake and returns the server's close code and reason.
    pub async fn close(mut self) -> (u16, String) {
        let frame = encode(FIN | opcode::CLOSE, &close_payload(1000, &[]));
        let _disconnected = self.send_raw(&frame).await;
        self.stop_answering();
        self.next_close().await
    }

    /// Closes the connection with a TCP reset.
    pub fn reset(self) {
        self.reset_on_drop();
    }

    fn reset_on_drop(&self) {
        let socket = SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER is set");
    }
}

/// # Panics
/// If the payload is invalid.
fn parse_close(payload: &[u8]) -> SocketEvent {
    let Some((code, reason)) = payload.split_first_chunk() else {
        assert!(payload.is_empty(), "a close frame with an incomplete code");
        return SocketEvent::Close(1005, String::new());
    };
    let reason = String::from_utf8(reason.to_vec()).expect("a close reason is UTF-8");
    SocketEvent::Close(u16::from_be_bytes(*code), reason)
}
