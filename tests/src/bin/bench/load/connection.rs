//! A minimal HTTP/1.1 connection that costs as little CPU as possible: it parses only the status
//! and the content length and does not allocate.

use std::io::{Error, ErrorKind, Result};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The maximum size of a response.
const MAX_RESPONSE_BYTES: usize = 8 * 1024;

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

/// The inspected parts of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The length of the body.
    pub length: usize,
}

impl Connection {
    /// Connects to an address, `host:port`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; MAX_RESPONSE_BYTES].into() })
    }

    /// Sends a request and reads the whole response.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (response, end) = loop {
            filled += self.read(filled).await?;
            if let Some(read) = parse_head(&self.buffer[..filled])? {
                break read;
            }
        };
        while filled < end {
            filled += self.read(filled).await?;
        }
        if filled > end {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(response)
    }

    async fn read(&mut self, filled: usize) -> Result<usize> {
        if filled == self.buffer.len() {
            return Err(Error::new(ErrorKind::InvalidData, "the response is too long"));
        }
        match self.stream.read(&mut self.buffer[filled..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// Parses the head of a response. Returns the response and its total length, or `None` if the head
/// is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Response, usize)>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let invalid = || Error::new(ErrorKind::InvalidData, "not a response with a content length");
    let status = bytes.get(9..12).and_then(parse_number).ok_or_else(invalid)?;
    let length = bytes[..head]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked("content-length:".len())?;
            name.eq_ignore_ascii_case(b"content-length:").then_some(value)
        })
        .and_then(|value| parse_number(value.trim_ascii()))
        .ok_or_else(invalid)?;
    let status = u16::try_from(status).map_err(|_| invalid())?;
    Ok(Some((Response { status, length }, head + 4 + length)))
}

fn parse_number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_length_are_parsed() {
        let response = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        let read = parse_head(response).expect("well formed").expect("complete");
        assert_eq!(read, (Response { status: 202, length: 2 }, response.len()));
        assert!(parse_head(&response[..30]).expect("well formed").is_none());
    }

    #[test]
    fn response_without_a_length_is_rejected() {
        assert!(parse_head(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 two\r\ncontent-length: 2\r\n\r\n").is_err());
    }
}
