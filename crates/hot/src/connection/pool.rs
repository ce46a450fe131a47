//! The connection pool, and the validation of idle connections.

use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, QueueMode, RecycleError, RecycleResult};
use deadpool_redis::{
    Runtime,
    redis::{
        self, AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError,
        TlsCertificates,
        aio::MultiplexedConnection,
        io::tcp::{TcpSettings, socket2::TcpKeepalive},
    },
};
use futures_util::FutureExt;
use mayfly_runtime::settings::RedisSettings;
use parking_lot::Mutex;
use secrecy::ExposeSecret;

use crate::connection::HotError;

/// The time since the last reply after which a connection is validated before its next use.
const IDLE_UNCHECKED_MAX: Duration = Duration::from_secs(1);
/// The time since the last reply after which a connection is replaced. Most firewalls drop idle
/// connections only after a longer time.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// The validation of a connection may take at most `redis.timeout` divided by this number. The rest
/// of the timeout is left for a new connection and the command.
const VALIDATION_SHARE: u32 = 4;
/// The interval between keep-alive probes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The number of unanswered keep-alive probes after which the kernel closes a connection.
const KEEP_ALIVE_PROBES: u32 = 3;

pub(super) type Pool = managed::Pool<ConnectionManager>;
/// A connection that is returned to the pool when it is dropped.
pub(super) type Connection = managed::Object<ConnectionManager>;

/// Creates a client. The store also uses the client to open connections outside the pool.
pub(super) fn create_client(settings: &RedisSettings) -> Result<Client, HotError> {
    let url = settings.url.expose_secret();
    let client = match &settings.ca_file {
        Some(file) => {
            let root_cert = Some(file.pem().to_vec());
            Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })?
        }
        None => Client::open(url)?,
    };
    let info: ConnectionInfo = client.get_connection_info().clone();
    let keep_alive = TcpKeepalive::new()
        .with_time(settings.tcp_keep_alive)
        .with_interval(KEEP_ALIVE_INTERVAL)
        .with_retries(KEEP_ALIVE_PROBES);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keep_alive);
    Ok(Client::open(info.into_connection_info()?.set_tcp_settings(tcp))?)
}

/// Creates a pool without connecting.
pub(super) fn create_pool(client: &Client, settings: &RedisSettings) -> Result<Pool, HotError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.timeout))
        .set_response_timeout(Some(settings.timeout));
    let info = client.get_connection_info().clone();
    let manager = ConnectionManager {
        connector: deadpool_redis::Manager::new_with_config(info, config)?,
        validation_timeout: settings.timeout / VALIDATION_SHARE,
        failed_at: Mutex::new(None),
    };
    Pool::builder(manager)
        .max_size(settings.pool_size_max)
        // The connection that was used last is the least likely to need a validation.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| HotError::Unavailable(error.to_string()))
}

/// A connection, and the time of the last reply that was received over it.
#[derive(Debug)]
pub(super) struct PooledConnection {
    pub(super) redis: MultiplexedConnection,
    replied_at: Instant,
}

impl PooledConnection {
    /// Records that Redis replied.
    pub(super) fn record_reply(&mut self) {
        self.replied_at = Instant::now();
    }

    /// Returns whether the connection can be used without a validation: Redis replied a moment ago
    /// and has not closed the connection.
    pub(super) fn is_ready(&mut self) -> bool {
        self.replied_at.elapsed() < IDLE_UNCHECKED_MAX && !self.is_closed()
    }

    /// Returns whether the connection is closed. Needs no round trip: the command is cancelled, so
    /// the client library does not send it or ignores its reply. On a closed connection, it fails
    /// immediately.
    fn is_closed(&mut self) -> bool {
        let ping = redis::cmd("PING");
        ping.exec_async(&mut self.redis).now_or_never().is_some_and(|sent| sent.is_err())
    }
}

/// The manager that opens and validates the connections of a pool. A firewall can drop an idle
/// connection without closing it. The manager of `deadpool-redis` would validate a connection
/// before every use, and a connection that was dropped would use up the full timeout of the caller.
#[derive(Debug)]
pub(super) struct ConnectionManager {
    connector: deadpool_redis::Manager,
    validation_timeout: Duration,
    /// The time at which a connection was last found dead. Connections over which no reply was
    /// received since then are probably dead too, and validating them one after another would
    /// exceed the timeout of the caller.
    failed_at: Mutex<Option<Instant>>,
}

impl managed::Manager for ConnectionManager {
    type Type = PooledConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<PooledConnection, RedisError> {
        // Every call to Redis contains the state of this future, which is several KiB. In a box, it
        // occupies memory only while a connection is opened.
        let redis = Box::pin(managed::Manager::create(&self.connector)).await?;
        Ok(PooledConnection { redis, replied_at: Instant::now() })
    }

    async fn recycle(
        &self,
        connection: &mut PooledConnection,
        _: &Metrics,
    ) -> RecycleResult<RedisError> {
        if connection.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        let idle = connection.replied_at.elapsed();
        if idle < IDLE_UNCHECKED_MAX {
            return Ok(());
        }
        let failed_at = *self.failed_at.lock();
        let is_distrusted = failed_at.is_some_and(|at| connection.replied_at <= at);
        if idle > IDLE_MAX || is_distrusted {
            return Err(RecycleError::message("the connection was idle for too long"));
        }
        let ping = redis::cmd("PING");
        let pinging = Box::pin(ping.exec_async(&mut connection.redis));
        if let Ok(Ok(())) = tokio::time::timeout(self.validation_timeout, pinging).await {
            connection.record_reply();
            return Ok(());
        }
        *self.failed_at.lock() = Some(Instant::now());
        Err(RecycleError::message("the idle connection is dead"))
    }
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::settings::Settings;

    use super::*;

    /// The client library offers no access to its sockets.
    #[test]
    fn all_connections_have_tcp_keep_alive() {
        let env = [("MAYFLY_REDIS__TCP_KEEP_ALIVE".to_owned(), "7s".to_owned())];
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        let client = create_client(&settings.redis).expect("a valid URL");
        let pool = create_pool(&client, &settings.redis).expect("valid settings");
        let expected = TcpKeepalive::new()
            .with_time(Duration::from_secs(7))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        let expected = format!("keepalive: Some({expected:?})");
        for connector in [format!("{client:?}"), format!("{:?}", pool.manager())] {
            assert!(connector.contains(&expected), "{connector}");
        }
    }
}
