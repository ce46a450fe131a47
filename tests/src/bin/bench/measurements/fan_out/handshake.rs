//! A minimal WebSocket handshake with a fixed request and response.

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The maximum size of a request or response head.
const MAX_HEAD_BYTES: usize = 4 * 1024;
const END: &[u8] = b"\r\n\r\n";

/// The response to the key in [`connect`].
const RESPONSE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Connects to the live feed at `host:port`. `authorization` is a header line, or empty. Returns
/// the connection and the bytes after the response.
pub async fn connect(address: &str, authorization: &str) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /v1/live HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         {authorization}sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (head, rest) = read_head(&mut stream).await?;
    ensure!(
        head.starts_with(b"HTTP/1.1 101 "),
        "the upgrade was rejected: {}",
        String::from_utf8_lossy(&head)
    );
    Ok((stream, rest))
}

/// Accepts an upgrade.
pub async fn accept(mut stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_nodelay(true)?;
    read_head(&mut stream).await?;
    stream.write_all(RESPONSE).await?;
    Ok(stream)
}

/// Reads a head and returns it with the following bytes.
async fn read_head(stream: &mut TcpStream) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let read = stream.read_buf(&mut head).await?;
        if let Some(end) = head.windows(END.len()).position(|window| window == END) {
            let rest = head.split_off(end + END.len());
            return Ok((head, rest));
        }
        ensure!(read > 0 && head.len() < MAX_HEAD_BYTES, "the head is incomplete or too long");
    }
}
