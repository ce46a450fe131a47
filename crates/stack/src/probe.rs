//! Asks a process whether it is ready.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::addresses::url;
use crate::ports::local;
use crate::server::postgres::main_database_url;
use crate::status::Readiness;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// More than any answer to a probe has.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How a process is asked whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// `GET /readyz` on this admin port.
    Service(u16),
    /// `PING` on this port.
    Redis(u16),
    /// A connection to this URL.
    Postgres(String),
    /// Any answer to a request on this port.
    S3(u16),
}

impl Probe {
    /// Asks once, and says why there is no answer if there is none.
    pub(crate) async fn ask(&self) -> Result<Readiness, String> {
        let answer = async {
            match self {
                Self::Service(port) => ask_service(*port).await,
                Self::Redis(port) => ask_redis(*port).await,
                Self::Postgres(url) => ask_postgres(url).await,
                Self::S3(port) => get(*port, "/").await.map(|_| Readiness::Ready),
            }
        };
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer.map_err(|error| format!("it does not answer: {error}")),
            Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
        }
    }

    /// The address that clients of such a process use.
    pub(crate) fn url(&self, port: u16) -> String {
        match self {
            Self::Service(_) | Self::S3(_) => url(port),
            Self::Redis(_) => format!("redis://{}", local(port)),
            Self::Postgres(_) => main_database_url(port),
        }
    }

    /// Says whether a service turns, ready or not.
    pub(crate) async fn is_live(&self) -> bool {
        match self {
            Self::Service(port) => {
                matches!(timeout(ANSWER_WITHIN, get(*port, "/livez")).await, Ok(Ok((200, _))))
            }
            _ => self.ask().await.is_ok_and(|readiness| readiness.is_ready()),
        }
    }
}

async fn ask_service(port: u16) -> io::Result<Readiness> {
    let (status, body) = get(port, "/readyz").await?;
    let body = body.trim().to_owned();
    Ok(match status {
        200 if body.contains("degraded") => Readiness::Degraded(body),
        200 => Readiness::Ready,
        _ if body.is_empty() => Readiness::NotReady(format!("/readyz answers {status}")),
        _ => Readiness::NotReady(body),
    })
}

/// A Redis that still reads its data answers `-LOADING`.
async fn ask_redis(port: u16) -> io::Result<Readiness> {
    let mut stream = TcpStream::connect(local(port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 128];
    let length = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    Ok(if answer.starts_with("+PONG") {
        Readiness::Ready
    } else {
        Readiness::NotReady(answer.trim().to_owned())
    })
}

async fn ask_postgres(url: &str) -> io::Result<Readiness> {
    Ok(match tokio_postgres::connect(url, tokio_postgres::NoTls).await {
        Ok(_) => Readiness::Ready,
        Err(error) => Readiness::NotReady(
            error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
        ),
    })
}

/// One request of HTTP/1.1, and its status and body.
async fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(local(port)).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    parse_answer(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_body() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nredis";
        assert_eq!(parse_answer(answer), Some((503, "redis".to_owned())));
        assert_eq!(parse_answer("SSH-2.0-OpenSSH\r\n"), None);
    }
}
