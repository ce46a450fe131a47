//! The WebSocket upgrade.

use std::{io, net::SocketAddr, str::FromStr};

use bytes::{Buf, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::LiveSocket;
use crate::ApiResponse;

/// The example key of RFC 6455, section 1.3. The RFC also contains the response to this key, so the
/// client does not compute a hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An upgrade request.
#[derive(Debug, Clone)]
pub struct UpgradeRequest {
    url: String,
    headers: Vec<(String, String)>,
    receive_buffer: Option<u32>,
}

/// A failed upgrade.
#[derive(Debug)]
pub enum UpgradeError {
    /// The connection was refused or broke.
    Io(io::Error),
    /// The server responded without upgrading.
    Rejected(ApiResponse),
}

impl From<io::Error> for UpgradeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl UpgradeRequest {
    /// Builds a valid request without an `Origin` header.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let headers = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { url: url.to_owned(), headers, receive_buffer: None }
    }

    /// Sets or replaces a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the size of the kernel's receive buffer, which otherwise grows to many MiB for a client
    /// that does not read.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// If the connection fails or the server does not upgrade it.
    ///
    /// # Panics
    /// If the 101 response violates RFC 6455.
    pub async fn send(self) -> Result<LiveSocket, UpgradeError> {
        let rest = self.url.strip_prefix("http://").expect("an http URL");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = self.connect(host).await?;
        let mut request = format!("GET /{path} HTTP/1.1\r\n");
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request.extend(["host: ", host, "\r\n"]);
        }
        for (name, value) in &self.headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;

        let mut buffer = BytesMut::with_capacity(1024);
        let mut response = read_head(&mut stream, &mut buffer).await?;
        if response.status == 101 {
            check_upgrade(&response);
            return Ok(LiveSocket::new(stream, buffer));
        }
        let length = response.header("content-length").parse().unwrap_or(usize::MAX);
        while buffer.len() < length && stream.read_buf(&mut buffer).await? > 0 {}
        response.body = buffer.to_vec();
        Err(UpgradeError::Rejected(response))
    }

    /// Sends the request and returns the response that rejects it.
    ///
    /// # Panics
    /// If the connection is upgraded or there is no response.
    pub async fn expect_rejection(self) -> ApiResponse {
        match self.send().await {
            Err(UpgradeError::Rejected(response)) => response,
            other => panic!("not rejected: {other:?}"),
        }
    }

    async fn connect(&self, host: &str) -> io::Result<TcpStream> {
        let address: SocketAddr = host.parse().expect("the host is a socket address");
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Reads the status and the headers. Leaves the following bytes in the buffer.
async fn read_head(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<ApiResponse> {
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
        let name = HeaderName::from_str(name).expect("a valid header name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("a valid header value"));
    }
    Ok(ApiResponse { status: status.ok_or(io::ErrorKind::InvalidData)?, headers, body: Vec::new() })
}

fn check_upgrade(response: &ApiResponse) {
    assert!(response.header("upgrade").eq_ignore_ascii_case("websocket"), "{response:?}");
    assert!(response.header("connection").eq_ignore_ascii_case("upgrade"), "{response:?}");
    assert_eq!(response.header("sec-websocket-accept"), ACCEPT);
    for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        assert_eq!(response.header(name), "", "{name} was not requested");
    }
}
