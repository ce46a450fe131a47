//! The hot store: its connections, and calls with a timeout.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{
    Connection, Pool, PoolError, TimeoutType, Timeouts,
    redis::{
        AsyncConnectionConfig, Client, RedisError, Value,
        aio::{MultiplexedConnection, PubSub},
    },
};
use mayfly_core::{StoreError, SynchronizedClock, SystemClock};
use mayfly_runtime::{ItemLog, settings};
use tokio::time::{Instant, timeout, timeout_at};

use super::pool::{create_client, create_pool};
use crate::{connection::HotError, keys::Keys, write::AcceptedTotals};

/// The hot store. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct HotStore {
    pool: Pool,
    client: Client,
    settings: Arc<settings::RedisSettings>,
    pub(crate) keys: Arc<Keys>,
    /// The timeout for a call, including the time to get a connection.
    pub(crate) timeout: Duration,
    /// This process's estimate of the Redis clock.
    pub(crate) clock: Arc<SynchronizedClock>,
    /// The log of keys that were skipped because no version of Mayfly writes their type or value.
    pub(crate) unreadable_keys: Arc<ItemLog>,
    /// The totals of accepted items that this process has received from Redis.
    pub(crate) accepted_totals: AcceptedTotals,
}

impl HotStore {
    /// Creates a store and its connection pool without connecting.
    pub fn new(settings: &settings::RedisSettings) -> Result<Self, HotError> {
        let client = create_client(settings)?;
        let pool = create_pool(&client, settings)?;
        let database = client.get_connection_info().redis_settings().db();
        Ok(Self {
            pool,
            client,
            settings: Arc::new(settings.clone()),
            keys: Arc::new(Keys::new(&settings.prefix, database)),
            timeout: settings.timeout,
            clock: Arc::new(SynchronizedClock::new(SystemClock)),
            unreadable_keys: Arc::new(ItemLog::new("read Redis keys")),
            accepted_totals: AcceptedTotals::default(),
        })
    }

    /// Returns a handle to the same store with its own connection pool. If a thread has its own
    /// runtime and its own handle, replies to that handle wake only that thread.
    ///
    /// # Panics
    /// Never, because the settings were validated when `self` was created.
    #[must_use]
    pub fn with_dedicated_connections(&self) -> Self {
        let store =
            Self::new(&self.settings).expect("invariant: the settings were validated before");
        Self {
            clock: Arc::clone(&self.clock),
            unreadable_keys: Arc::clone(&self.unreadable_keys),
            accepted_totals: self.accepted_totals.clone(),
            ..store
        }
    }

    /// Returns the key names, for tools and tests that access Redis directly.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns whether the settings allow a Redis that evicts keys.
    pub(super) fn allows_eviction(&self) -> bool {
        self.settings.allow_eviction
    }

    /// Runs commands within the timeout. Closes the connection after a timeout or if Redis is
    /// unavailable, because the connection may be dead, and because Redis would answer later
    /// commands on this connection only after the unanswered one.
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

    /// Returns the reply to commands on a key. If Redis rejected the commands, for example because
    /// another program overwrote the key, records the failure and returns `None`, so that the
    /// caller can process other keys.
    pub(crate) fn skip_unreadable<T, E: Into<HotError>>(
        &self,
        key: &str,
        reply: Result<T, E>,
    ) -> Result<Option<T>, HotError> {
        self.unreadable_keys.isolate(key, reply.map_err(Into::into), HotError::is_rejection)
    }

    /// Records the keys that a script skipped. `keys` contains each key followed by its error.
    pub(crate) fn record_unreadable(&self, keys: &[Value]) {
        for key in keys.chunks_exact(2) {
            if let [Value::BulkString(name), Value::BulkString(error)] = key {
                let text = String::from_utf8_lossy;
                self.unreadable_keys.record_failure(text(name), text(error));
            }
        }
    }

    /// Returns the maximum time that a request waits before it is sent. At least half of the
    /// timeout is left for the response.
    pub(crate) fn queue_timeout(&self) -> Duration {
        self.settings.queue_timeout.min(self.timeout / 2)
    }

    /// Returns a connection from the pool, which validates a connection before reusing it.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if every connection stays in use for the queue timeout. The wait is
    /// limited because a command that is sent later might be executed after the caller has received
    /// an error.
    pub(crate) async fn connection_until(&self, deadline: Instant) -> Result<Connection, HotError> {
        let timeouts = Timeouts { wait: Some(self.queue_timeout()), ..Timeouts::default() };
        match timeout_at(deadline, self.pool.timeout_get(&timeouts)).await {
            Ok(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(HotError::Overloaded),
            Ok(connection) => Ok(connection?),
            Err(_) => Err(HotError::Timeout),
        }
    }

    /// Opens a connection without a response timeout, for blocking commands.
    pub(crate) async fn connection_for_blocking(&self) -> Result<MultiplexedConnection, HotError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connected = timeout(self.timeout, connecting).await.map_err(|_| HotError::Timeout)?;
        connected.map_err(|error| HotError::from_connecting(&error))
    }

    /// Opens a connection for pub/sub.
    pub(crate) async fn connection_for_subscription(&self) -> Result<PubSub, HotError> {
        let connecting = self.client.get_async_pubsub();
        let connected = timeout(self.timeout, connecting).await.map_err(|_| HotError::Timeout)?;
        connected.map_err(|error| HotError::from_connecting(&error))
    }
}
