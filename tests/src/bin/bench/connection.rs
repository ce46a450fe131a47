//! One HTTP/1.1 connection that costs the machine as little as possible: bytes out, bytes in, the
//! status and the length read, nothing allocated.

use std::io::{Error, ErrorKind, Result};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The longest answer that is understood.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

/// What is looked at in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The bytes of the body.
    pub length: usize,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ANSWER_BYTES_MAX].into() })
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (answer, end) = loop {
            filled += self.read(filled).await?;
            if let Some(read) = read_head(&self.buffer[..filled])? {
                break read;
            }
        };
        while filled < end {
            filled += self.read(filled).await?;
        }
        if filled > end {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(answer)
    }

    async fn read(&mut self, filled: usize) -> Result<usize> {
        if filled == self.buffer.len() {
            return Err(Error::new(ErrorKind::InvalidData, "the answer is too long"));
        }
        match self.stream.read(&mut self.buffer[filled..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// Reads the head of an answer: what it says, and where the answer ends; none while it is not whole.
fn read_head(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let invalid = || Error::new(ErrorKind::InvalidData, "not an answer with a length");
    let status = bytes.get(9..12).and_then(number).ok_or_else(invalid)?;
    let length = bytes[..head]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked("content-length:".len())?;
            name.eq_ignore_ascii_case(b"content-length:").then_some(value)
        })
        .and_then(|value| number(value.trim_ascii()))
        .ok_or_else(invalid)?;
    let status = u16::try_from(status).map_err(|_| invalid())?;
    Ok(Some((Answer { status, length }, head + 4 + length)))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_status_length_and_end() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        let read = read_head(answer).expect("well formed").expect("whole");
        assert_eq!(read, (Answer { status: 202, length: 2 }, answer.len()));
        assert!(read_head(&answer[..30]).expect("well formed so far").is_none());
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(read_head(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
        assert!(read_head(b"HTTP/1.1 two\r\ncontent-length: 2\r\n\r\n").is_err());
    }
}
