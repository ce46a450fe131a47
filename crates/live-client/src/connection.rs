//! One connection to a feed.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::disconnect::Disconnect;

/// The time limit for opening the connection and for receiving a reply to a ping. Until the ping
/// interval is set, also the duration of silence after which the client sends a ping.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for sending the reply to a Close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The minimum duration of silence after which the client sends a ping, even if the server
/// announces a shorter ping interval.
const SILENCE_MIN: Duration = Duration::from_millis(100);
/// The maximum duration of silence after which the client sends a ping, even if the server
/// announces a longer ping interval.
const SILENCE_MAX: Duration = Duration::from_mins(5);

const PING: &str = r#"{"type":"ping"}"#;

/// A connection that sends a ping when the server is silent, to detect an unreachable server.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    max_silence: Duration,
}

impl Connection {
    /// Connects to the feed at `url`.
    pub async fn open(url: &str) -> Result<Self, Disconnect> {
        let opened = timeout(RESPONSE_TIMEOUT, connect_async(url)).await;
        let (socket, _) = opened.map_err(|_| timed_out())?.map_err(into_disconnect)?;
        Ok(Self { socket, max_silence: RESPONSE_TIMEOUT })
    }

    /// Sets the ping interval that the server announced, clamped to a supported range.
    pub fn set_ping_interval(&mut self, interval: Duration) {
        self.max_silence = interval.clamp(SILENCE_MIN, SILENCE_MAX);
    }

    /// Waits for the next text frame and returns its payload. Sends a ping whenever the server has
    /// been silent for the ping interval.
    pub async fn next_frame(&mut self) -> Result<Utf8Bytes, Disconnect> {
        loop {
            let received = match timeout(self.max_silence, self.socket.next()).await {
                Ok(received) => received,
                Err(_) => self.ping().await?,
            };
            match received {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    let _closed = timeout(CLOSE_TIMEOUT, self.socket.flush()).await;
                    let (code, reason) = frame
                        .map_or((CloseCode::Status, Utf8Bytes::default()), |frame| {
                            (frame.code, frame.reason)
                        });
                    return Err(Disconnect::Closed {
                        code: code.into(),
                        reason: reason.to_string(),
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(into_disconnect(error)),
                None => {
                    return Err(Disconnect::Lost("the server closed the connection".to_owned()));
                }
            }
        }
    }

    /// Sends a ping and returns the next item from the socket. Returns an error if the ping cannot
    /// be sent or if nothing arrives in time.
    async fn ping(&mut self) -> Result<Option<Result<Message, Error>>, Disconnect> {
        let reply = async {
            self.socket.send(Message::text(PING)).await.map_err(into_disconnect)?;
            Ok(self.socket.next().await)
        };
        timeout(RESPONSE_TIMEOUT, reply).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn timed_out() -> Disconnect {
    Disconnect::Lost(format!("no response within {RESPONSE_TIMEOUT:?}"))
}

fn into_disconnect(error: Error) -> Disconnect {
    match error {
        Error::Http(response) => {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            Disconnect::Rejected {
                status: response.status().as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
            }
        }
        Error::Url(_) | Error::Tls(_) | Error::HttpFormat(_) => {
            Disconnect::Unreachable(error.to_string())
        }
        _ => Disconnect::Lost(error.to_string()),
    }
}
