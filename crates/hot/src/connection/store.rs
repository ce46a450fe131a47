//! The hot store: its connections, and calls with a timeout.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{
    PoolError, TimeoutType, Timeouts,
    redis::{
        AsyncConnectionConfig, Client, RedisError, Value,
        aio::{MultiplexedConnection, PubSub},
    },
};
use mayfly_core::{StoreError, SynchronizedClock, SystemClock};
use mayfly_runtime::{ItemLog, settings};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    metrics::{EXPIRED, record_shed_request},
    pool::{Connection, Pool, create_client, create_pool},
};
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
        self.call_since(Instant::now(), commands).await
    }

    /// Does the same as [`Self::call`] for a request that was submitted at `submitted_at`. The
    /// queue timeout and the timeout begin at this time.
    pub(crate) async fn call_since<T>(
        &self,
        submitted_at: Instant,
        commands: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, HotError> {
        let deadline = submitted_at + self.timeout;
        let connection = self.connection_until(deadline).await;
        if matches!(connection, Err(HotError::Overloaded)) {
            record_shed_request(EXPIRED);
        }
        let mut connection = connection?;
        let reply = match timeout_at(deadline, commands(&mut connection.redis)).await {
            Ok(reply) => reply.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        if matches!(reply, Err(HotError::Timeout | HotError::Unavailable(_))) {
            drop(Connection::take(connection));
        } else {
            connection.record_reply();
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

    /// Returns a connection from the pool, which validates a connection that was idle. `deadline`
    /// is the time when the request was submitted, plus the timeout.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if every connection stays in use until the request has waited for
    /// the queue timeout since it was submitted. The wait is limited because a command that is sent
    /// later might be executed after the caller has received an error.
    pub(super) async fn connection_until(&self, deadline: Instant) -> Result<Connection, HotError> {
        let send_by = deadline - self.timeout.saturating_sub(self.queue_timeout());
        let wait = send_by.saturating_duration_since(Instant::now());
        let timeouts = Timeouts { wait: Some(wait), ..Timeouts::default() };
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use mayfly_runtime::settings::Settings;
    use metrics::set_default_local_recorder;
    use uuid::Uuid;

    use super::*;
    use crate::{
        connection::{metrics::REQUESTS_SHED_TOTAL, test_metrics::TestRecorder},
        messages::{InboxSlots, MessageFinder},
    };

    /// Returns a store whose connections are in use until the timeout, because `server` does not
    /// respond.
    async fn create_busy_store(server: &TcpListener) -> HotStore {
        let address = server.local_addr().expect("an address");
        let env = [
            ("MAYFLY_REDIS__URL".to_owned(), format!("redis://{address}")),
            ("MAYFLY_REDIS__POOL_SIZE_MAX".to_owned(), "8".to_owned()),
        ];
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        let store = HotStore::new(&settings.redis).expect("a valid URL");
        for _ in 0..settings.redis.pool_size_max {
            let store = store.clone();
            tokio::spawn(async move { store.read_clock().await });
        }
        tokio::task::yield_now().await;
        store
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_is_not_sent_for_lack_of_a_connection_is_counted() {
        let recorder = TestRecorder::default();
        let _guard = set_default_local_recorder(&recorder);
        let count = || recorder.counter(&format!("{REQUESTS_SHED_TOTAL} {EXPIRED}"));
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let store = create_busy_store(&server).await;
        let call = store.read_clock().await;
        assert!(matches!(call, Err(HotError::Overloaded)), "{call:?}");
        assert_eq!(count(), Some(1));
        let batched = MessageFinder::start(&store).find_copy(Uuid::nil().into()).await;
        assert!(matches!(batched, Err(HotError::Overloaded)), "{batched:?}");
        assert_eq!(count(), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_in_a_queue_and_for_a_connection_share_the_queue_timeout() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let store = create_busy_store(&server).await;
        let queue_timeout = store.queue_timeout();
        let submitted_at = Instant::now();
        tokio::time::advance(queue_timeout * 4 / 5).await;
        let connection = store.connection_until(submitted_at + store.timeout).await;
        assert!(matches!(connection, Err(HotError::Overloaded)));
        let waited = submitted_at.elapsed();
        assert!(waited < queue_timeout + Duration::from_millis(5), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_an_inbox_slot_and_for_a_connection_share_the_queue_timeout() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let store = create_busy_store(&server).await;
        let slots = InboxSlots::new(&store, 1);
        let queue_timeout = store.queue_timeout();
        let submitted_at = Instant::now();
        let first = slots.acquire().await.expect("a free slot");
        let (second, ()) = tokio::join!(slots.acquire(), async {
            tokio::time::sleep(queue_timeout * 4 / 5).await;
            drop(first);
        });
        let slot = second.expect("a slot was released in time");
        let page = store.inbox().in_slot(&slot).list("kiran", 1).await;
        assert!(matches!(page, Err(HotError::Overloaded)), "{page:?}");
        let waited = submitted_at.elapsed();
        assert!(waited < queue_timeout + Duration::from_millis(5), "{waited:?}");
    }
}
