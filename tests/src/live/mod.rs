//! A client of the live feeds that can do what a good client never does: send frames that are wrong,
//! read late or not at all, and vanish.

mod events;
mod fanout;
mod follower;
mod latency;
mod opening;
mod sightings;
mod told;
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
pub use fanout::{Metrics, file_limit, rss_bytes};
pub use follower::Follower;
pub use latency::{Latencies, Talk, now_us};
pub use opening::{NotOpened, Opening};
pub use sightings::sighting;
pub use told::{Told, ToldMessage};
use wire::Frame;
pub use wire::{FIN, close_payload, encode, encode_unmasked, opcode};

use crate::PATIENCE;

const READ_BYTES: usize = 4096;

/// What comes from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A whole text.
    Text(Bytes),
    /// A ping; it is answered already, unless this client is mute.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The end, as the server says it; without a code it is 1005.
    Close(u16, String),
    /// The connection ended without a word.
    Lost,
}

/// A socket that is open.
#[derive(Debug)]
pub struct Live {
    stream: TcpStream,
    buffer: BytesMut,
    /// What has come of a message in several frames.
    begun: Option<BytesMut>,
    is_mute: bool,
}

impl Live {
    fn new(stream: TcpStream, buffer: BytesMut) -> Self {
        Self { stream, buffer, begun: None, is_mute: false }
    }

    /// Opens a socket.
    ///
    /// # Panics
    /// When it is not opened.
    pub async fn connect(url: &str) -> Self {
        let opened = Opening::to(url).send().await;
        opened.unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    /// Opens a socket and reads its `hello`.
    ///
    /// # Panics
    /// When either does not happen.
    pub async fn hello(url: &str) -> (Self, Value) {
        let mut live = Self::connect(url).await;
        let hello = live.next_frame().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        (live, hello)
    }

    /// No longer answers pings and closes.
    pub fn mute(&mut self) {
        self.is_mute = true;
    }

    /// Waits for what comes next, however long. May be given up and called again.
    ///
    /// # Panics
    /// When the server breaks the protocol.
    pub async fn hear(&mut self) -> Heard {
        loop {
            while let Some(frame) = Frame::take(&mut self.buffer) {
                if let Some(heard) = self.understand(frame) {
                    self.answer(&heard).await;
                    return heard;
                }
            }
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Heard::Lost,
                Ok(_) => {}
            }
        }
    }

    fn understand(&mut self, frame: Frame) -> Option<Heard> {
        let Frame { fin, opcode, payload } = frame;
        match opcode {
            opcode::PING => Some(Heard::Ping(payload)),
            opcode::PONG => Some(Heard::Pong(payload)),
            opcode::CLOSE => Some(understand_close(&payload)),
            opcode::TEXT if fin => {
                assert!(self.begun.is_none(), "a text inside of another");
                Some(Heard::Text(payload))
            }
            opcode::TEXT => {
                let begun = self.begun.replace(payload.into());
                assert!(begun.is_none(), "a text inside of another");
                None
            }
            opcode::CONTINUATION => {
                let mut all = self.begun.take().expect("something was begun");
                all.extend_from_slice(&payload);
                if fin {
                    return Some(Heard::Text(all.freeze()));
                }
                self.begun = Some(all);
                None
            }
            other => panic!("the server sends frames with opcode {other}"),
        }
    }

    /// Answers what has to be answered. That the server is gone shows at the next read.
    async fn answer(&mut self, heard: &Heard) {
        let frame = match heard {
            _ if self.is_mute => return,
            Heard::Ping(payload) => encode(FIN | opcode::PONG, payload),
            Heard::Close(1005, _) => encode(FIN | opcode::CLOSE, &[]),
            Heard::Close(code, _) => encode(FIN | opcode::CLOSE, &close_payload(*code, &[])),
            _ => return,
        };
        let _gone = self.stream.write_all(&frame).await;
    }

    /// Waits for the next text, however long; else the code of the end, 1006 where it came without
    /// a word.
    ///
    /// # Errors
    /// When the connection ended: the code and the reason.
    pub async fn next_text(&mut self) -> Result<Bytes, (u16, String)> {
        loop {
            match self.hear().await {
                Heard::Text(text) => return Ok(text),
                Heard::Ping(_) | Heard::Pong(_) => {}
                Heard::Close(code, reason) => return Err((code, reason)),
                Heard::Lost => return Err((1006, String::new())),
            }
        }
    }

    /// The next frame, as JSON.
    ///
    /// # Panics
    /// When none comes, or no JSON.
    #[track_caller]
    pub fn next_frame(&mut self) -> impl Future<Output = Value> {
        self.next_frame_within(PATIENCE)
    }

    /// The next frame, as JSON, within this time.
    ///
    /// # Panics
    /// When none comes, or no JSON.
    #[track_caller]
    pub fn next_frame_within(&mut self, within: Duration) -> impl Future<Output = Value> {
        // A test fails where it waited, not here.
        let caller = std::panic::Location::caller();
        async move {
            let text = timeout(within, self.next_text()).await;
            let text = text.unwrap_or_else(|_| panic!("{caller}: no frame within {within:?}"));
            let text = text.unwrap_or_else(|end| panic!("{caller}: closed instead: {end:?}"));
            serde_json::from_slice(&text).expect("a frame is JSON")
        }
    }

    /// The next frame of this type; others before it are left out.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next_of(&mut self, kind: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let found = timeout(PATIENCE, async {
                loop {
                    let text = self.next_text().await;
                    let text = text.unwrap_or_else(|end| panic!("{caller}: closed: {end:?}"));
                    let frame: Value = serde_json::from_slice(&text).expect("a frame is JSON");
                    if frame["type"] == kind {
                        return frame;
                    }
                }
            });
            found.await.unwrap_or_else(|_| panic!("{caller}: no {kind} within {PATIENCE:?}"))
        }
    }

    /// What the messages of the next frames say, until one says this; nothing but messages, and
    /// frames of positions, may come.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    #[track_caller]
    pub fn texts_until(&mut self, last: &str) -> impl Future<Output = Vec<String>> {
        let caller = std::panic::Location::caller();
        async move {
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != last) {
                let text = timeout(PATIENCE, self.next_text()).await;
                let text = text
                    .unwrap_or_else(|_| panic!("{caller}: no `{last}`, but {texts:?}"))
                    .unwrap_or_else(|end| panic!("{caller}: closed: {end:?}"));
                let told = Told::read(&text);
                match told.kind.as_str() {
                    "message" => texts.push(told.text().to_owned()),
                    "position" => {}
                    other => panic!("{caller}: a frame of type {other}: {text:?}"),
                }
            }
            texts
        }
    }

    /// The code and the reason with which the server closes; 1006 where it says nothing. What comes
    /// before is left out.
    ///
    /// # Panics
    /// When it does not close.
    #[track_caller]
    pub fn next_close(&mut self) -> impl Future<Output = (u16, String)> {
        let caller = std::panic::Location::caller();
        async move {
            let closed = timeout(PATIENCE, async {
                loop {
                    if let Err(end) = self.next_text().await {
                        return end;
                    }
                }
            });
            closed.await.unwrap_or_else(|_| panic!("{caller}: not closed within {PATIENCE:?}"))
        }
    }

    /// Whether the server ends the TCP connection, too.
    pub async fn is_ended(&mut self) -> bool {
        let ended = timeout(PATIENCE, async { while self.hear().await != Heard::Lost {} });
        ended.await.is_ok()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a text in one frame.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send_text(&mut self, text: &str) {
        let frame = encode(FIN | opcode::TEXT, text.as_bytes());
        self.send_raw(&frame).await.expect("the connection stands");
    }

    /// Sends JSON and gives the next frame.
    ///
    /// # Panics
    /// When there is none.
    pub async fn ask(&mut self, frame: &Value) -> Value {
        self.send_text(&frame.to_string()).await;
        self.next_frame().await
    }

    /// Says that nothing more comes from here.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.expect("the connection stands");
    }

    /// Takes so many bytes off the connection, for nothing; less at its end.
    pub async fn skip(&mut self, bytes: usize) -> usize {
        let mut some = vec![0; bytes];
        self.stream.read(&mut some).await.unwrap_or(0)
    }

    /// Closes as a client does, and waits for the answer.
    pub async fn close(mut self) -> (u16, String) {
        let _gone = self.send_raw(&encode(FIN | opcode::CLOSE, &close_payload(1000, &[]))).await;
        self.mute();
        self.next_close().await
    }

    /// Vanishes: the server gets a reset.
    pub fn reset(self) {
        self.vanish();
    }

    /// Makes the end of the connection a reset.
    fn vanish(&self) {
        let socket = SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket can be told not to linger");
    }
}

/// # Panics
/// When a server must not close like this.
fn understand_close(payload: &[u8]) -> Heard {
    let Some((code, reason)) = payload.split_first_chunk() else {
        assert!(payload.is_empty(), "a close frame with half a code");
        return Heard::Close(1005, String::new());
    };
    let reason = String::from_utf8(reason.to_vec()).expect("a reason is UTF-8");
    Heard::Close(u16::from_be_bytes(*code), reason)
}
