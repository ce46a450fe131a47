//! Opens sessions with Postgres.

use std::{
    error::Error,
    fmt::{self, Write},
    io,
    net::IpAddr,
    path::Path,
    time::Duration,
};

use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret, SecretString};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_postgres::{
    Client, Config, NoTls, SimpleQueryMessage,
    config::{Host, LoadBalanceHosts, TargetSessionAttrs},
};

use super::{
    error::describe_with_sqlstate,
    sqlstate::{LastSqlState, SqlState, SqlStateStream},
};

const PORT: u16 = 5432;
/// The idle time before the kernel sends keepalive probes, unless the URL sets a time other than
/// [`CLIENT_KEEP_ALIVE_IDLE`]. Many firewalls drop idle connections sooner than
/// [`CLIENT_KEEP_ALIVE_IDLE`].
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
/// The default idle time of the client library.
const CLIENT_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// A session with Postgres.
pub(crate) struct Session {
    pub(crate) connection: AsyncPgConnection,
    /// The SQLSTATE of the last error in this session.
    pub(super) sqlstate: LastSqlState,
    address: Address,
}

impl Session {
    /// Asks Postgres over a separate connection to cancel the query in progress.
    pub(super) async fn cancel_query(&self) -> Result<(), ConnectError> {
        let token = self.connection.cancel_token();
        match &self.address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| ConnectError::new(&self.address, &error))?;
                token.cancel_query_raw(stream, NoTls).await?;
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| ConnectError::new(&self.address, &error))?;
                token.cancel_query_raw(stream, NoTls).await?;
            }
        }
        Ok(())
    }
}

/// A failure to connect to Postgres, such as
/// `password authentication failed for user "me" (SQLSTATE 28P01)`. Contains no secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(match error.as_db_error() {
            Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()),
            None => describe(&error),
        })
    }
}

impl ConnectError {
    fn new(address: &Address, error: &io::Error) -> Self {
        Self(format!("cannot connect to {address}: {}", describe(error)))
    }
}

/// A connector that opens sessions with one of the hosts in a URL.
pub(crate) struct Connector {
    config: Result<Config, ConnectError>,
    /// Statements that every session executes first.
    setup: String,
    /// The caller's time limit for opening a session and executing a query, if there is one.
    timeout: Option<Duration>,
}

impl Connector {
    pub(crate) fn new(url: &SecretString, setup: String, timeout: Option<Duration>) -> Self {
        Self { config: url.expose_secret().parse().map_err(ConnectError::from), setup, timeout }
    }

    /// Opens a session with the first host that accepts it. Starts at a random host if the URL
    /// requests load balancing.
    pub(crate) async fn open(&self) -> Result<Session, ConnectError> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let mut addresses = list_addresses(config);
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random && !addresses.is_empty() {
            let first = fastrand::usize(..addresses.len());
            addresses.rotate_left(first);
        }
        let limit = self.find_limit(config, addresses.len());
        let mut failed = Err(ConnectError("the URL contains no host".to_owned()));
        for address in addresses {
            let opening = self.open_at(config, &address);
            let opened = match limit {
                Some(limit) => timeout(limit, opening).await.unwrap_or_else(|_| {
                    Err(ConnectError(format!("cannot connect to {address} within {limit:?}")))
                }),
                None => opening.await,
            };
            match opened {
                Err(error) => failed = Err(error),
                opened => return opened,
            }
        }
        failed
    }

    /// Returns the time limit for each host, or `None` for no limit. An unresponsive host must
    /// leave time for the other hosts and for the query.
    fn find_limit(&self, config: &Config, hosts: usize) -> Option<Duration> {
        let shares = u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1);
        let share = self.timeout.filter(|_| hosts > 1).map(|timeout| timeout / shares);
        config.get_connect_timeout().copied().or(share)
    }

    async fn open_at(&self, config: &Config, address: &Address) -> Result<Session, ConnectError> {
        match address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream =
                    stream.and_then(|stream| set_options(&stream, config).map(|()| stream));
                let stream = stream.map_err(|error| ConnectError::new(address, &error))?;
                self.start(config, stream, address).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| ConnectError::new(address, &error))?;
                self.start(config, stream, address).await
            }
        }
    }

    async fn start<S>(
        &self,
        config: &Config,
        stream: S,
        address: &Address,
    ) -> Result<Session, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let sqlstate = LastSqlState::default();
        let stream = SqlStateStream::new(stream, sqlstate.clone());
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        // The task ends when the client is dropped or the connection breaks.
        tokio::spawn(connection);
        check_target(&client, config.get_target_session_attrs()).await?;
        client.batch_execute(&self.setup).await?;
        let connection = AsyncPgConnection::try_from(client).await.map_err(|error| {
            let code = sqlstate.take();
            let code = code.as_ref().map(SqlState::as_str);
            ConnectError(describe_with_sqlstate(&describe(&error), code))
        })?;
        Ok(Session { connection, sqlstate, address: address.clone() })
    }
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => formatter.write_str(path),
        }
    }
}

fn list_addresses(config: &Config) -> Vec<Address> {
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    (0..count)
        .filter_map(|index| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
            match (addresses.get(index), hosts.get(index)) {
                (_, Some(Host::Unix(directory))) => Some(socket_address(directory, port)),
                (Some(address), _) => Some(Address::Tcp(IpAddr::to_string(address), port)),
                (None, Some(Host::Tcp(host))) => Some(Address::Tcp(host.clone(), port)),
                (None, None) => None,
            }
        })
        .collect()
}

fn socket_address(directory: &Path, port: u16) -> Address {
    Address::Unix(directory.join(format!(".s.PGSQL.{port}")).to_string_lossy().into_owned())
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

/// Checks that the session has the access mode (read-write or read-only) that the URL requests.
async fn check_target(client: &Client, target: TargetSessionAttrs) -> Result<(), ConnectError> {
    let expected = match target {
        TargetSessionAttrs::ReadWrite => "off",
        TargetSessionAttrs::ReadOnly => "on",
        _ => return Ok(()),
    };
    let rows = client.simple_query("SHOW transaction_read_only").await?;
    let is_expected = rows.iter().any(|row| match row {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten() == Some(expected),
        _ => false,
    });
    if is_expected {
        Ok(())
    } else {
        Err(ConnectError("the session does not match target_session_attrs".to_owned()))
    }
}

/// Describes an error and its causes.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(url: &str) -> Vec<Address> {
        list_addresses(&url.parse().expect("a valid URL"))
    }

    #[test]
    fn addresses_have_ports_and_are_in_the_order_of_the_url() {
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        assert_eq!(addresses("postgres://a,b:5433/x"), [tcp("a", 5432), tcp("b", 5433)]);
        assert_eq!(addresses("postgres://[::1]:1/x"), [tcp("::1", 1)]);
        assert_eq!(
            addresses("postgres:///x?host=/run/postgresql"),
            [Address::Unix("/run/postgresql/.s.PGSQL.5432".to_owned())]
        );
        assert_eq!(addresses("postgres://name:7/x?hostaddr=10.0.0.1"), [tcp("10.0.0.1", 7)]);
        assert_eq!(addresses("postgres:///x?hostaddr=10.0.0.1"), [tcp("10.0.0.1", 5432)]);
    }

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
