//! Opens sessions with Postgres.

mod address;
mod certificate;
mod tls;
mod transport;

use std::{
    error::Error,
    fmt::{Display, Write},
    io,
    sync::Arc,
    time::Duration,
};

use diesel_async::AsyncPgConnection;
use mayfly_runtime::settings::{PostgresTls, SslMode, TargetSession};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Config, SimpleQueryMessage,
    config::{self, LoadBalanceHosts, SslNegotiation},
};

use self::{
    address::{Address, list_addresses},
    transport::{Encryption, Established, Transport},
};
use super::{
    error::describe_with_sqlstate,
    sqlstate::{LastSqlState, SqlState, SqlStateStream},
};

/// A session with Postgres.
pub(crate) struct Session {
    pub(crate) connection: AsyncPgConnection,
    /// The SQLSTATE of the last error in this session.
    pub(super) sqlstate: LastSqlState,
    servers: Arc<Servers>,
    address: Address,
    is_encrypted: bool,
}

impl Session {
    /// Asks Postgres over a separate connection to cancel the query in progress. The connection
    /// uses TLS if the session does, because the request contains the secret key of the session.
    pub(super) async fn cancel_query(&self) -> Result<(), ConnectError> {
        let Self { servers, address, is_encrypted, .. } = self;
        let client = servers.tls_client.clone().filter(|_| *is_encrypted);
        let encryption = client.map_or(Encryption::Never, Encryption::Always);
        let transport = Transport::open(address, &servers.config, &encryption).await?;
        let token = self.connection.cancel_token();
        Ok(token.cancel_query_raw(transport, Established).await?)
    }
}

/// A failure to connect to Postgres, such as
/// `password authentication failed for user "me" (SQLSTATE 28P01)`. Contains no secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{description}")]
pub struct ConnectError {
    description: String,
    /// Whether the server may accept a session with the other encryption, with TLS or without: the
    /// TLS handshake failed, or the server sent an error before the end of the authentication.
    is_refusal: bool,
}

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()).into(),
            None => describe(&error).into(),
        }
    }
}

impl From<String> for ConnectError {
    fn from(description: String) -> Self {
        Self { description, is_refusal: false }
    }
}

impl ConnectError {
    fn new(address: &Address, error: &io::Error) -> Self {
        format!("cannot connect to {address}: {}", describe(error)).into()
    }

    /// Marks the failure as a refusal: the server may accept a session with the other encryption.
    fn into_refusal(self) -> Self {
        Self { is_refusal: true, ..self }
    }
}

/// The servers in a URL.
struct Servers {
    addresses: Vec<Address>,
    target: TargetSession,
    /// The configuration of sessions without TLS.
    config: Config,
    /// The configuration of sessions with TLS, for which the client library calls [`Established`].
    tls_config: Config,
    /// `None` if sessions never use TLS.
    tls_client: Option<Arc<ClientConfig>>,
    encryption: Encryption,
    /// The encryption of a second attempt, over a new connection, if the first one is refused.
    encryption_if_refused: Option<Encryption>,
}

impl Servers {
    fn parse(url: &SecretString) -> Result<Self, ConnectError> {
        let invalid =
            |rule: &dyn Display| ConnectError::from(format!("the URL is invalid: {rule}"));
        let (tls, url) = PostgresTls::split_url(url).map_err(|rule| invalid(&rule))?;
        let (target, url) = TargetSession::split_url(&url).map_err(|rule| invalid(&rule))?;
        let mut config: Config = url.expose_secret().parse()?;
        config.ssl_mode(config::SslMode::Disable);
        let mut tls_config = config.clone();
        // With direct negotiation, the client library calls its TLS implementation immediately.
        tls_config.ssl_mode(config::SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let tls_client = match tls.mode {
            SslMode::Disable => None,
            _ => Some(Arc::new(tls::create_client(&tls).map_err(|cause| invalid(&cause))?)),
        };
        let (encryption, encryption_if_refused) = match (tls.mode, tls_client.clone()) {
            (SslMode::Disable, _) | (_, None) => (Encryption::Never, None),
            (SslMode::Allow, client) => (Encryption::Never, client.map(Encryption::Always)),
            (SslMode::Prefer, Some(client)) => {
                (Encryption::IfSupported(client), Some(Encryption::Never))
            }
            (_, Some(client)) => (Encryption::Always(client), None),
        };
        let addresses = list_addresses(&config);
        Ok(Self {
            addresses,
            target,
            config,
            tls_config,
            tls_client,
            encryption,
            encryption_if_refused,
        })
    }
}

/// A session that the server accepted.
struct Opened {
    session: Session,
    /// Whether the URL prefers no other server.
    is_preferred: bool,
}

/// A connector that opens sessions with one of the hosts in a URL.
pub(crate) struct Connector {
    servers: Result<Arc<Servers>, ConnectError>,
    /// Statements that every session executes first.
    setup: String,
    /// The caller's time limit for opening a session and executing a query, if there is one.
    timeout: Option<Duration>,
}

impl Connector {
    /// Creates a connector, and reads the files with certificates that the URL names.
    pub(crate) fn new(url: &SecretString, setup: String, timeout: Option<Duration>) -> Self {
        Self { servers: Servers::parse(url).map(Arc::new), setup, timeout }
    }

    /// Opens a session with the first host that accepts it, or with the first that the URL prefers,
    /// if it prefers some hosts. Starts at a random host if the URL requests load balancing.
    pub(crate) async fn open(&self) -> Result<Session, ConnectError> {
        let servers = self.servers.as_ref().map_err(Clone::clone)?;
        let mut addresses: Vec<_> = servers.addresses.iter().collect();
        if servers.config.get_load_balance_hosts() == LoadBalanceHosts::Random
            && !addresses.is_empty()
        {
            let first = fastrand::usize(..addresses.len());
            addresses.rotate_left(first);
        }
        let limit = self.find_limit(&servers.config, addresses.len());
        let mut failed = Err("the URL contains no host".to_owned().into());
        let mut alternative = None;
        for address in addresses {
            let opening = self.open_at(servers, address);
            let opened = match limit {
                Some(limit) => timeout(limit, opening).await.unwrap_or_else(|_| {
                    Err(format!("cannot connect to {address} within {limit:?}").into())
                }),
                None => opening.await,
            };
            match opened {
                Ok(Opened { session, is_preferred: true }) => return Ok(session),
                Ok(Opened { session, .. }) => alternative = alternative.or(Some(session)),
                Err(error) => failed = Err(error),
            }
        }
        alternative.map_or(failed, Ok)
    }

    /// Returns the time limit for each host, or `None` for no limit. An unresponsive host must
    /// leave time for the other hosts and for the query.
    fn find_limit(&self, config: &Config, hosts: usize) -> Option<Duration> {
        let shares = u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1);
        let share = self.timeout.filter(|_| hosts > 1).map(|timeout| timeout / shares);
        config.get_connect_timeout().copied().or(share)
    }

    async fn open_at(
        &self,
        servers: &Arc<Servers>,
        address: &Address,
    ) -> Result<Opened, ConnectError> {
        let opened = self.start(servers, address, &servers.encryption).await;
        match (opened, &servers.encryption_if_refused) {
            (Err(refusal), Some(encryption)) if refusal.is_refusal && !address.is_unix() => {
                let opened = self.start(servers, address, encryption).await;
                opened.map_err(|error| format!("{refusal}; {error}").into())
            }
            (opened, _) => opened,
        }
    }

    async fn start(
        &self,
        servers: &Arc<Servers>,
        address: &Address,
        encryption: &Encryption,
    ) -> Result<Opened, ConnectError> {
        let transport = Transport::open(address, &servers.config, encryption).await?;
        let is_encrypted = transport.is_encrypted();
        let config = if is_encrypted { &servers.tls_config } else { &servers.config };
        let sqlstate = LastSqlState::default();
        let stream = SqlStateStream::new(transport, sqlstate.clone());
        let connecting = config.connect_raw(stream, Established).await;
        let (client, connection) = connecting.map_err(|error| {
            let is_refusal = error.as_db_error().is_some() && !sqlstate.is_authenticated();
            // A server that does not support TLS has refused the only possible session.
            let has_alternative = is_encrypted || !matches!(encryption, Encryption::IfSupported(_));
            let error = ConnectError::from(error);
            if is_refusal && has_alternative { error.into_refusal() } else { error }
        })?;
        // The task ends when the client is dropped or the connection breaks.
        tokio::spawn(connection);
        let is_preferred = check_target(&client, servers.target).await?;
        client.batch_execute(&self.setup).await?;
        let connection = AsyncPgConnection::try_from(client).await.map_err(|error| {
            let code = sqlstate.take();
            let code = code.as_ref().map(SqlState::as_str);
            ConnectError::from(describe_with_sqlstate(&describe(&error), code))
        })?;
        let (servers, address) = (Arc::clone(servers), address.clone());
        let session = Session { connection, sqlstate, servers, address, is_encrypted };
        Ok(Opened { session, is_preferred })
    }
}

/// Checks that the session has the access mode, or the server the role, that the URL requests.
/// Returns false if the URL prefers a server with another role.
async fn check_target(client: &Client, target: TargetSession) -> Result<bool, ConnectError> {
    const READ_ONLY: &str = "SHOW transaction_read_only";
    const STANDBY: &str = "SELECT pg_is_in_recovery()";
    let (query, expected) = match target {
        TargetSession::Any => return Ok(true),
        TargetSession::ReadWrite => (READ_ONLY, "off"),
        TargetSession::ReadOnly => (READ_ONLY, "on"),
        TargetSession::Primary => (STANDBY, "f"),
        TargetSession::Standby | TargetSession::PreferStandby => (STANDBY, "t"),
    };
    let rows = client.simple_query(query).await?;
    let is_expected = rows.iter().any(|row| match row {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten() == Some(expected),
        _ => false,
    });
    if is_expected || target == TargetSession::PreferStandby {
        Ok(is_expected)
    } else {
        Err("the session does not match target_session_attrs".to_owned().into())
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
