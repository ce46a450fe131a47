//! Execution of a batch on Redis.

use std::sync::Arc;

use deadpool_redis::redis::{RedisError, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout_at};

use crate::connection::{HotError, HotStore, pool::Connection};

/// A command that executes many requests in one round trip.
pub(crate) trait BatchCommand: Send + Sync + 'static {
    /// The request of one caller.
    type Request: Send + Sync + 'static;
    /// The response to the caller.
    type Response: Send + 'static;

    /// Executes a batch and returns one response per request, in the order of the requests.
    fn execute(
        &self,
        connection: &mut MultiplexedConnection,
        requests: &[Self::Request],
    ) -> impl Future<Output = Result<Vec<Self::Response>, RedisError>> + Send;
}

/// An executor that runs one batch at a time.
pub(super) trait Execute: Send + 'static {
    /// The request of one caller.
    type Request: Send + Sync + 'static;
    /// The response to the caller.
    type Response: Send + 'static;

    /// Executes a batch and returns one response per request, in the order of the requests. Returns
    /// an error if the batch is not complete at the deadline.
    fn execute(
        &mut self,
        requests: &[Self::Request],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Self::Response>, HotError>> + Send;
}

/// An executor of batches of one command on Redis.
pub(super) struct RedisExecutor<C> {
    store: HotStore,
    command: Arc<C>,
    /// The connection that the last batch used.
    connection: Option<Connection>,
}

impl<C> RedisExecutor<C> {
    /// Creates an executor that connects on first use.
    pub(super) fn new(store: HotStore, command: Arc<C>) -> Self {
        Self { store, command, connection: None }
    }

    /// Returns the connection of the last batch, unless it was idle or is closed. In that case,
    /// returns it to the pool, which validates it before its next use, and takes a connection from
    /// the pool. A batch that was sent is not sent again, because it may have been executed.
    async fn take_connection(&mut self, deadline: Instant) -> Result<Connection, HotError> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_ready()
        {
            return Ok(connection);
        }
        self.store.connection_until(deadline).await
    }
}

impl<C: BatchCommand> Execute for RedisExecutor<C> {
    type Request = C::Request;
    type Response = C::Response;

    async fn execute(
        &mut self,
        requests: &[C::Request],
        deadline: Instant,
    ) -> Result<Vec<C::Response>, HotError> {
        let mut connection = self.take_connection(deadline).await?;
        let execution = self.command.execute(&mut connection.redis, requests);
        let responses = match timeout_at(deadline, execution).await {
            Ok(responses) => responses.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        if matches!(responses, Err(HotError::Timeout | HotError::Unavailable(_))) {
            drop(Connection::take(connection));
        } else {
            connection.record_reply();
            self.connection = Some(connection);
        }
        responses
    }
}
