//! The connection pool, and the validation of idle connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::{
    Hook, HookError, Manager, Pool, Runtime,
    redis::{
        self, AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
        aio::MultiplexedConnection,
        io::tcp::{TcpSettings, socket2::TcpKeepalive},
    },
};
use mayfly_runtime::settings::RedisSettings;
use parking_lot::Mutex;
use secrecy::ExposeSecret;

use crate::connection::HotError;

/// The idle time after which a connection is validated with a short timeout before its next use.
const IDLE_UNCHECKED_MAX: Duration = Duration::from_secs(1);
/// The idle time after which a connection is replaced. Most firewalls drop idle connections only
/// after a longer time.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// The validation of a connection may take at most `redis.timeout` divided by this number. The rest
/// of the timeout is left for a new connection and the command.
const VALIDATION_SHARE: u32 = 4;
/// The interval between keep-alive probes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The number of unanswered keep-alive probes after which the kernel closes a connection.
const KEEP_ALIVE_PROBES: u32 = 3;

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
    let manager = Manager::new_with_config(client.get_connection_info().clone(), config)?;
    let validation = Arc::new(Validation {
        timeout: settings.timeout / VALIDATION_SHARE,
        failed_at: Mutex::new(None),
    });
    Pool::builder(manager)
        .max_size(settings.pool_size_max)
        .runtime(Runtime::Tokio1)
        .pre_recycle(Hook::async_fn(move |connection, metrics| {
            let (validation, idle) = (Arc::clone(&validation), metrics.last_used());
            Box::pin(async move { validation.run(connection, idle).await })
        }))
        .build()
        .map_err(|error| HotError::Unavailable(error.to_string()))
}

/// The validation of pooled connections that were idle. A firewall can drop an idle connection
/// without closing it. The pool itself sends a `PING` before it reuses a connection, but on a dead
/// connection, this `PING` would use up the full timeout of the caller. The idle time is the time
/// since the connection was last taken from the pool.
#[derive(Debug)]
struct Validation {
    timeout: Duration,
    /// The time at which a connection was last found dead. Connections that have not been used
    /// since then are probably dead too, and validating them one after another would exceed the
    /// timeout of the caller.
    failed_at: Mutex<Option<Instant>>,
}

impl Validation {
    async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        idle: Duration,
    ) -> Result<(), HookError> {
        if idle < IDLE_UNCHECKED_MAX {
            return Ok(());
        }
        let used_at = Instant::now().checked_sub(idle);
        let failed_at = *self.failed_at.lock();
        let is_distrusted = failed_at.is_some_and(|at| used_at.is_none_or(|used_at| used_at <= at));
        if idle > IDLE_MAX || is_distrusted {
            return Err(HookError::message("the connection was idle for too long"));
        }
        let ping = redis::cmd("PING");
        let pinging = ping.exec_async(connection);
        if let Ok(Ok(())) = tokio::time::timeout(self.timeout, pinging).await {
            return Ok(());
        }
        *self.failed_at.lock() = Some(Instant::now());
        Err(HookError::message("the idle connection is dead"))
    }
}
