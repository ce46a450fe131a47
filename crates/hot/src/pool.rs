//! The connections to Redis.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{
    Connection, Manager, Pool, Runtime,
    redis::{
        AsyncConnectionConfig, Client,
        aio::{MultiplexedConnection, PubSub},
    },
};
use mayfly_runtime::settings;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout_at};

use crate::{error::HotError, keys::Keys};

/// The hot store. Cheap to clone; connects when it is first asked.
#[derive(Clone)]
pub struct Hot {
    pool: Pool,
    client: Client,
    settings: Arc<settings::Redis>,
    pub(crate) keys: Arc<Keys>,
    /// How long a call may take, getting a connection included.
    pub(crate) timeout: Duration,
}

impl Hot {
    /// Prepares a pool; nothing is connected yet.
    pub fn new(settings: &settings::Redis) -> Result<Self, HotError> {
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

    /// The same store through connections of its own: what a thread asks is then answered on that
    /// thread, without waking another.
    ///
    /// # Panics
    /// Never: the address was understood before.
    #[must_use]
    pub fn on_its_own(&self) -> Self {
        Self::new(&self.settings).expect("invariant: the address was understood before")
    }

    /// The names of the keys, for who looks into Redis from outside.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Asks whether Redis answers.
    pub async fn ping(&self) -> Result<(), HotError> {
        self.call(async |connection| {
            deadpool_redis::redis::cmd("PING").query_async(connection).await
        })
        .await
    }

    /// Runs commands within the deadline. A connection that missed it, or broke, is given up.
    pub(crate) async fn call<T>(
        &self,
        commands: impl AsyncFnOnce(
            &mut MultiplexedConnection,
        ) -> Result<T, deadpool_redis::redis::RedisError>,
    ) -> Result<T, HotError> {
        let deadline = Instant::now() + self.timeout;
        let mut connection = self.connection_until(deadline).await?;
        let answer = match timeout_at(deadline, commands(&mut connection)).await {
            Ok(answer) => answer.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        if matches!(answer, Err(HotError::Timeout | HotError::Unavailable(_))) {
            drop(Connection::take(connection));
        }
        answer
    }

    /// A connection of the pool, checked to be alive.
    pub(crate) async fn connection_until(&self, deadline: Instant) -> Result<Connection, HotError> {
        Ok(timeout_at(deadline, self.pool.get()).await.map_err(|_| HotError::Timeout)??)
    }

    /// A connection outside the pool, for commands that block: it waits for answers as long as its
    /// owner does.
    pub(crate) async fn connection_for_blocking(&self) -> Result<MultiplexedConnection, HotError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| HotError::Timeout)?
            .map_err(HotError::from)
    }

    /// A connection for a subscription.
    pub(crate) async fn connection_for_subscription(&self) -> Result<PubSub, HotError> {
        tokio::time::timeout(self.timeout, self.client.get_async_pubsub())
            .await
            .map_err(|_| HotError::Timeout)?
            .map_err(HotError::from)
    }
}
