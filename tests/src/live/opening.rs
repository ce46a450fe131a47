//! How a socket is asked for.

use std::{io, net::SocketAddr, str::FromStr};

use bytes::{Buf, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::Live;
use crate::Answer;

/// The example of RFC 6455, section 1.3: with it the right answer is known without a hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request for a socket.
#[derive(Debug, Clone)]
pub struct Opening {
    url: String,
    headers: Vec<(String, String)>,
    receive_buffer: Option<u32>,
}

/// Why there is no socket.
#[derive(Debug)]
pub enum NotOpened {
    /// The connection was refused, or broke.
    Broken(io::Error),
    /// The server answered without an upgrade.
    Refused(Answer),
}

impl From<io::Error> for NotOpened {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Opening {
    /// A request as a well-behaved client sends it, without an origin.
    #[must_use]
    pub fn to(url: &str) -> Self {
        let headers = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { url: url.to_owned(), headers, receive_buffer: None }
    }

    /// With this header, in the place of one of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With so many bytes that the kernel takes in for a client that does not read: without it,
    /// that grows to many MiB.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// When there is none.
    ///
    /// # Panics
    /// When it is opened in another way than RFC 6455 says.
    pub async fn send(self) -> Result<Live, NotOpened> {
        let rest = self.url.strip_prefix("http://").expect("it is an address");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = self.connect(host).await?;
        let mut request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in &self.headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;

        let mut buffer = BytesMut::with_capacity(1024);
        let mut answer = read_head(&mut stream, &mut buffer).await?;
        if answer.status == 101 {
            check_upgrade(&answer);
            return Ok(Live::new(stream, buffer));
        }
        let length = answer.header("content-length").parse().unwrap_or(usize::MAX);
        while buffer.len() < length && stream.read_buf(&mut buffer).await? > 0 {}
        answer.body = buffer.to_vec();
        Err(NotOpened::Refused(answer))
    }

    /// Opens the socket and expects to be refused.
    ///
    /// # Panics
    /// When it is opened, or there is no answer.
    pub async fn refusal(self) -> Answer {
        match self.send().await {
            Err(NotOpened::Refused(answer)) => answer,
            other => panic!("it is not refused: {other:?}"),
        }
    }

    async fn connect(&self, host: &str) -> io::Result<TcpStream> {
        let address: SocketAddr = host.parse().expect("the host is an address");
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Reads status and headers; what came after them stays in the buffer.
async fn read_head(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Answer> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.advance(end + 4);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_str(name).expect("it is a name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("it is a value"));
    }
    Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, headers, body: Vec::new() })
}

fn check_upgrade(answer: &Answer) {
    assert!(answer.header("upgrade").eq_ignore_ascii_case("websocket"), "{answer:?}");
    assert!(answer.header("connection").eq_ignore_ascii_case("upgrade"), "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), ACCEPT);
    for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        assert_eq!(answer.header(name), "", "nobody asked for {name}");
    }
}
