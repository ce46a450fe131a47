//! The connection pool.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{
    Connection, Manager, Pool, Runtime,
    redis::{
        self, AsyncConnectionConfig, Client, RedisError,
        aio::{MultiplexedConnection, PubSub},
    },
};
use mayfly_runtime::settings;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{connection::HotError, keys::Keys};

/// The hot store. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct HotStore {
    pool: Pool,
    client: Client,
    settings: Arc<settings::RedisSettings>,
    pub(crate) keys: Arc<Keys>,
    /// The deadline of a call, including the time to get a connection.
    pub(crate) timeout: Duration,
}

impl HotStore {
    /// Creates the connection pool without connecting.
    pub fn new(settings: &settings::RedisSettings) -> Result<Self, HotError> {
        let url = settings.url.expose_secret();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.timeout))
            .set_response_timeout(Some(settings.timeout));
        let manager = Manager::new_with_config(url, config)?;
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size_max)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| HotError::Unavailable(error.to_string()))?;
        Ok(Self {
            pool,
            client: Client::open(url)?,
            settings: Arc::new(settings.clone()),
            keys: Arc::new(Keys::new(&settings.prefix)),
            timeout: settings.timeout,
        })
    }

    /// Returns the same store with a connection pool of its own. On a thread with its own runtime,
    /// replies are then received on that thread and wake no other one.
    ///
    /// # Panics
    /// Never: the settings were validated when `self` was created.
    #[must_use]
    pub fn with_dedicated_connections(&self) -> Self {
        Self::new(&self.settings).expect("invariant: the settings were validated before")
    }

    /// Returns the key names, for tools and tests that access Redis directly.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Sends `PING`.
    pub async fn ping(&self) -> Result<(), HotError> {
        self.call(async |connection| redis::cmd("PING").query_async(connection).await).await
    }

    /// Runs commands within the deadline. Closes the connection if it timed out or broke, because a
    /// late reply would be taken for the reply to a later command.
    pub(crate) async fn call<T>(
        &self,
        commands: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, HotError> {
        let deadline = Instant::now() + self.timeout;
        let mut connection = self.connection_until(deadline).await?;
        let reply = match timeout_at(deadline, commands(&mut connection)).await {
            Ok(reply) => reply.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        if matches!(reply, Err(HotError::Timeout | HotError::Unavailable(_))) {
            drop(Connection::take(connection));
        }
        reply
    }

    /// Returns a connection of the pool, which has checked that it is alive.
    pub(crate) async fn connection_until(&self, deadline: Instant) -> Result<Connection, HotError> {
        Ok(timeout_at(deadline, self.pool.get()).await.map_err(|_| HotError::Timeout)??)
    }

    /// Opens a connection without a response timeout, for blocking commands.
    pub(crate) async fn connection_for_blocking(&self) -> Result<MultiplexedConnection, HotError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        Ok(timeout(self.timeout, connecting).await.map_err(|_| HotError::Timeout)??)
    }

    /// Opens a connection for pub/sub.
    pub(crate) async fn connection_for_subscription(&self) -> Result<PubSub, HotError> {
        let connecting = self.client.get_async_pubsub();
        Ok(timeout(self.timeout, connecting).await.map_err(|_| HotError::Timeout)??)
    }
}
