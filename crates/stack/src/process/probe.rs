//! Readiness and liveness probes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::Readiness;
use crate::topology::addresses::{http_url, main_database_url, redis_url};
use crate::topology::ports::localhost;

/// The time limit for one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum size of a response, in bytes.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// A probe for the readiness and liveness of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// `GET /readyz` on this admin port.
    Service(u16),
    /// `PING` on this port.
    Redis(u16),
    /// A connection to this URL.
    Postgres(String),
    /// Any HTTP response to a request on this port.
    S3(u16),
}

impl Probe {
    /// Checks the process once.
    ///
    /// # Errors
    /// Why the process does not respond.
    pub(crate) async fn check(&self) -> Result<Readiness, String> {
        let response = async {
            match self {
                Self::Service(port) => check_service(*port).await,
                Self::Redis(port) => check_redis(*port).await,
                Self::Postgres(url) => check_postgres(url).await,
                Self::S3(port) => get(*port, "/").await.map(|_| Readiness::Ready),
            }
        };
        match timeout(PROBE_TIMEOUT, response).await {
            Ok(response) => response.map_err(|error| format!("it does not respond: {error}")),
            Err(_) => Err(format!("no response within {PROBE_TIMEOUT:?}")),
        }
    }

    /// Returns the URL that clients use for the process on `port`.
    pub(crate) fn url(&self, port: u16) -> String {
        match self {
            Self::Service(_) | Self::S3(_) => http_url(port),
            Self::Redis(_) => redis_url(port),
            Self::Postgres(_) => main_database_url(port),
        }
    }

    /// Returns whether the process is live. A service can be live without being ready.
    pub(crate) async fn is_live(&self) -> bool {
        match self {
            Self::Service(port) => {
                matches!(timeout(PROBE_TIMEOUT, get(*port, "/livez")).await, Ok(Ok((200, _))))
            }
            _ => self.check().await.is_ok_and(|readiness| readiness.is_ready()),
        }
    }
}

async fn check_service(port: u16) -> io::Result<Readiness> {
    let (status, body) = get(port, "/readyz").await?;
    let body = body.trim().to_owned();
    Ok(match status {
        200 if body.contains("degraded") => Readiness::Degraded(body),
        200 => Readiness::Ready,
        _ if body.is_empty() => Readiness::NotReady(format!("/readyz returned {status}")),
        _ => Readiness::NotReady(body),
    })
}

/// Sends `PING`. A Redis server that is still loading its data replies `-LOADING`.
async fn check_redis(port: u16) -> io::Result<Readiness> {
    let mut stream = TcpStream::connect(localhost(port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut reply = [0; 128];
    let length = stream.read(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply[..length]);
    Ok(if reply.starts_with("+PONG") {
        Readiness::Ready
    } else {
        Readiness::NotReady(reply.trim().to_owned())
    })
}

async fn check_postgres(url: &str) -> io::Result<Readiness> {
    Ok(match tokio_postgres::connect(url, tokio_postgres::NoTls).await {
        Ok(_) => Readiness::Ready,
        Err(error) => Readiness::NotReady(
            error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
        ),
    })
}

/// Sends one HTTP/1.1 request and returns the status and the body of the response.
async fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(localhost(port)).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut bytes).await?;
    parse_response(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_response(response: &str) -> Option<(u16, String)> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_parsed_into_status_and_body() {
        let response = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nredis";
        assert_eq!(parse_response(response), Some((503, "redis".to_owned())));
        assert_eq!(parse_response("SSH-2.0-OpenSSH\r\n"), None);
    }
}
