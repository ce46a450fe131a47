//! Execution of a batch on Redis.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{Connection, redis::RedisError};
use tokio::time::{Instant, timeout_at};

use crate::connection::{HotError, HotStore};

/// A command that executes many requests in one round trip.
pub(crate) trait BatchCommand: Send + Sync + 'static {
    /// The request of one caller.
    type Request: Send + Sync + 'static;
    /// The response to the caller.
    type Response: Send + 'static;

    /// Executes a batch and returns one response per request, in the order of the requests.
    fn execute(
        &self,
        connection: &mut Connection,
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

/// The idle time after which an executor does not reuse its connection. Before the next batch, the
/// executor returns the connection to the pool and takes a validated or new connection.
const IDLE_UNCHECKED_MAX: Duration = Duration::from_secs(1);

/// An executor of batches of one command on Redis.
pub(super) struct RedisExecutor<C> {
    store: HotStore,
    command: Arc<C>,
    /// The connection that the last batch used, and the time at which that batch ended.
    connection: Option<(Connection, Instant)>,
}

impl<C> RedisExecutor<C> {
    /// Creates an executor that connects on first use.
    pub(super) fn new(store: HotStore, command: Arc<C>) -> Self {
        Self { store, command, connection: None }
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
        let mut connection = match self.connection.take() {
            Some((connection, used_at)) if used_at.elapsed() < IDLE_UNCHECKED_MAX => connection,
            idle => {
                drop(idle);
                self.store.connection_until(deadline).await?
            }
        };
        let execution = self.command.execute(&mut connection, requests);
        let responses = match timeout_at(deadline, execution).await {
            Ok(responses) => responses.map_err(HotError::from),
            Err(_) => Err(HotError::Timeout),
        };
        match responses {
            Err(HotError::Timeout | HotError::Unavailable(_)) => {
                drop(Connection::take(connection));
            }
            _ => self.connection = Some((connection, Instant::now())),
        }
        responses
    }
}
