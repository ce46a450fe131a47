//! Streams to Postgres, with and without TLS.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_postgres::{
    Config,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio_rustls::{TlsConnector, client};

use super::{
    ConnectError, address::Address, certificate::hash_for_channel_binding, tls::describe_failure,
};
use crate::store::sqlstate::SqlStateStream;

/// The idle time before the kernel sends keepalive probes, unless the URL sets a time other than
/// [`CLIENT_KEEP_ALIVE_IDLE`]. Many firewalls drop idle connections sooner than
/// [`CLIENT_KEEP_ALIVE_IDLE`].
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
/// The default idle time of the client library.
const CLIENT_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// The message that asks Postgres for a TLS session (`SSLRequest`): its length and its code.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const TLS_ACCEPTED: u8 = b'S';
const TLS_REFUSED: u8 = b'N';

/// Whether a stream uses TLS.
#[derive(Debug, Clone)]
pub(super) enum Encryption {
    Never,
    /// Unless the server does not support TLS.
    IfSupported(Arc<ClientConfig>),
    Always(Arc<ClientConfig>),
}

/// A stream to Postgres.
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Transport {
    /// Connects to a server, and starts a TLS session if `encryption` requires one. Unix sockets
    /// never use TLS.
    pub(super) async fn open(
        address: &Address,
        config: &Config,
        encryption: &Encryption,
    ) -> Result<Self, ConnectError> {
        let failed = |error: io::Error| ConnectError::new(address, &error);
        match address {
            Address::Tcp { host, port, name } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                set_options(&stream, config).map_err(failed)?;
                encrypt(stream, name, encryption).await.map_err(|failure| {
                    let text = format!("cannot connect to {address} with TLS: {}", failure.cause);
                    let error = ConnectError::from(text);
                    if failure.is_handshake { error.into_refusal() } else { error }
                })
            }
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await.map_err(failed)?)),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

/// A failure to start a TLS session.
struct TlsFailure {
    cause: String,
    /// Whether the server supports TLS and the handshake failed.
    is_handshake: bool,
}

impl From<&str> for TlsFailure {
    fn from(cause: &str) -> Self {
        Self { cause: cause.to_owned(), is_handshake: false }
    }
}

/// Starts a TLS session if `encryption` requires one. `name` is the name of the server.
async fn encrypt(
    mut stream: TcpStream,
    name: &str,
    encryption: &Encryption,
) -> Result<Transport, TlsFailure> {
    let (client, is_optional) = match encryption {
        Encryption::Never => return Ok(Transport::Tcp(stream)),
        Encryption::IfSupported(client) => (client, true),
        Encryption::Always(client) => (client, false),
    };
    // Exactly one byte is read: everything that the server sends after it belongs to the TLS
    // session.
    let requested = async {
        stream.write_all(&TLS_REQUEST).await?;
        stream.read_u8().await
    };
    match requested.await {
        Ok(TLS_ACCEPTED) => {}
        Ok(TLS_REFUSED) if is_optional => return Ok(Transport::Tcp(stream)),
        Ok(TLS_REFUSED) => return Err("the server does not support TLS".into()),
        Ok(_) => return Err("the server responded with an error".into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err("the server closed the connection".into());
        }
        Err(error) => return Err(error.to_string().as_str().into()),
    }
    let failed = |cause| TlsFailure { cause, is_handshake: true };
    let server = ServerName::try_from(name.to_owned());
    let server = server.map_err(|_| failed(format!("{name} is not a valid name of a server")))?;
    match TlsConnector::from(Arc::clone(client)).connect(server, stream).await {
        Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
        Err(error) => Err(failed(describe_failure(&error))),
    }
}

fn set_options(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if config.get_keepalives() {
        let idle = config.get_keepalives_idle();
        let idle = if idle == CLIENT_KEEP_ALIVE_IDLE { KEEP_ALIVE_IDLE } else { idle };
        let keep_alive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(config.get_keepalives_interval().unwrap_or(KEEP_ALIVE_INTERVAL))
            .with_retries(config.get_keepalives_retries().unwrap_or(KEEP_ALIVE_PROBES));
        socket.set_tcp_keepalive(&keep_alive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    Ok(())
}

/// A stream of any type.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        let Self::Tls(stream) = self else { return ChannelBinding::none() };
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let hash = certificate.and_then(|certificate| hash_for_channel_binding(certificate));
        hash.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: TlsStream + Unpin> TlsStream for SqlStateStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.get_ref().channel_binding()
    }
}

/// A TLS implementation for the client library that returns the stream unchanged, because its TLS
/// session was already started.
pub(super) struct Established;

impl<S: TlsStream + Unpin> TlsConnect<S> for Established {
    type Stream = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_have_tcp_keep_alive() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr().expect("an address");
        for (parameters, idle) in [("", 15), ("?keepalives_idle=7", 7)] {
            let stream = TcpStream::connect(address).await.expect("the server listens");
            let url = format!("postgres://localhost/x{parameters}");
            set_options(&stream, &url.parse().expect("a valid URL")).expect("the options are set");
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().expect("an option"));
            assert_eq!(socket.tcp_keepalive_time().expect("an option").as_secs(), idle);
            assert_eq!(socket.tcp_keepalive_interval().expect("an option").as_secs(), 5);
            assert_eq!(socket.tcp_keepalive_retries().expect("an option"), 3);
        }
    }
}
