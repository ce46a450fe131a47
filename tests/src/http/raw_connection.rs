//! A minimal HTTP/1.1 client over one connection, which reports a broken connection as an error.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A keep-alive connection.
#[derive(Debug)]
pub struct RawConnection {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug)]
pub struct RawResponse {
    /// The status code.
    pub status: u16,
    /// Whether the server sent `Connection: close`.
    pub close: bool,
    /// The body.
    pub body: Vec<u8>,
}

impl RawConnection {
    /// Opens a connection.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request with a JSON body, which may be empty, and reads the whole response.
    ///
    /// # Errors
    /// If the connection breaks before the response is complete.
    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<RawResponse> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let status = self.read_line().await?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut response = RawResponse {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            close: false,
            body: Vec::new(),
        };
        let length = self.read_headers(&mut response).await?;
        response.body.resize(length, 0);
        self.stream.read_exact(&mut response.body).await?;
        Ok(response)
    }

    /// Reads the headers and returns the length of the body.
    async fn read_headers(&mut self, response: &mut RawResponse) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let line = self.read_line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(length) };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => {
                    length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                }
                ("connection", value) => response.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
