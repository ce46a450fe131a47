//! One connection to the feed.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::ending::Ending;

/// How long the server may take to answer: the upgrade, its first frame, a ping.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long saying farewell may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// A server that is silent is asked no sooner and no later than this, whatever it says of its pings.
const SILENCE_LEAST: Duration = Duration::from_millis(100);
const SILENCE_MOST: Duration = Duration::from_mins(5);

const PING: &str = r#"{"type":"ping"}"#;

/// A connection that notices when the other side is gone without a word.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    silence_max: Duration,
}

impl Connection {
    pub(crate) async fn open(url: &str) -> Result<Self, Ending> {
        let opened = timeout(ANSWER_WITHIN, connect_async(url)).await;
        let (socket, _) = opened.map_err(|_| silent())?.map_err(into_ending)?;
        Ok(Self { socket, silence_max: ANSWER_WITHIN })
    }

    /// Says how often the server lets hear of itself.
    pub(crate) fn expect_pings(&mut self, interval: Duration) {
        self.silence_max = interval.clamp(SILENCE_LEAST, SILENCE_MOST);
    }

    /// Gives the next frame.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, Ending> {
        loop {
            let received = match timeout(self.silence_max, self.socket.next()).await {
                Ok(received) => received,
                Err(_) => self.break_silence().await?,
            };
            match received {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    let _gone = timeout(CLOSE_WITHIN, self.socket.flush()).await;
                    let (code, reason) = frame
                        .map_or((CloseCode::Status, Utf8Bytes::default()), |frame| {
                            (frame.code, frame.reason)
                        });
                    return Err(Ending::Closed { code: code.into(), reason: reason.to_string() });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(into_ending(error)),
                None => return Err(Ending::Broken("the connection ended".to_owned())),
            }
        }
    }

    /// Asks whether anybody is there; gives what comes then.
    async fn break_silence(&mut self) -> Result<Option<Result<Message, Error>>, Ending> {
        let asked = async {
            self.socket.send(Message::text(PING)).await.map_err(into_ending)?;
            Ok(self.socket.next().await)
        };
        timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(silent()))
    }
}

fn silent() -> Ending {
    Ending::Broken(format!("no answer within {ANSWER_WITHIN:?}"))
}

fn into_ending(error: Error) -> Ending {
    match error {
        Error::Http(answer) => {
            let after = answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            Ending::Refused {
                status: answer.status().as_u16(),
                retry_after: after.map(Duration::from_secs),
            }
        }
        Error::Url(_) | Error::Tls(_) | Error::HttpFormat(_) => {
            Ending::Impossible(error.to_string())
        }
        _ => Ending::Broken(error.to_string()),
    }
}
