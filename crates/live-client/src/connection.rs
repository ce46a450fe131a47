//! One connection to a feed.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::credentials::Credentials;
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

/// The first frame, for which the server waits because the URL contains `connect=frame`. Without
/// it, a server that requires credentials would wait for them if the header contains none. With it,
/// the server rejects missing credentials immediately.
const CONNECT: &str = r#"{"type":"connect"}"#;
const PING: &str = r#"{"type":"ping"}"#;

/// A connection that sends a ping when the server is silent, to detect an unreachable server.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    max_silence: Duration,
}

impl Connection {
    /// Connects to the feed at `url`, which must be a
    /// [connection URL](crate::FeedAddress::connection_url). The credentials are sent in a header,
    /// because servers log URLs.
    pub async fn open(url: &str, credentials: Option<&Credentials>) -> Result<Self, Disconnect> {
        let mut request = url.into_client_request().map_err(into_disconnect)?;
        if let Some(credentials) = credentials {
            request.headers_mut().insert(AUTHORIZATION, credentials.header().clone());
        }
        let opened = timeout(RESPONSE_TIMEOUT, connect_async(request)).await;
        let (mut socket, _) = opened.map_err(|_| timed_out())?.map_err(into_disconnect)?;
        socket.send(Message::text(CONNECT)).await.map_err(into_disconnect)?;
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
