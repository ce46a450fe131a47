//! HTTP/1.1 by hand, over one connection, so that a connection that breaks is seen as such.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back on it.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Whether the server asks for no further request on this connection.
    pub close: bool,
    /// Its body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request with a JSON body, or none, and waits for the whole answer.
    ///
    /// # Errors
    /// When the connection broke before the answer was whole.
    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: mayfly\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer = Reply {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            close: false,
            body: Vec::new(),
        };
        let length = self.headers(&mut answer).await?;
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    /// Reads the headers; gives the length of the body.
    async fn headers(&mut self, answer: &mut Reply) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(length) };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => {
                    length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                }
                ("connection", value) => answer.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
