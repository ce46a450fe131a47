//! The pool of sessions, and the validation of idle sessions.

use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use diesel_async::{SimpleAsyncConnection, pooled_connection::PoolableConnection};
use parking_lot::Mutex;

use super::connect::{ConnectError, Connector, Session};

/// A session that has been idle for at least this long is validated before it is used.
const IDLE_UNCHECKED_MAX: Duration = Duration::from_secs(1);
/// A session that has been idle for longer than this is replaced. Most firewalls keep connections
/// that have been idle for this long.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// The validation of a session takes at most the default timeout of a call divided by this number.
/// The rest of the timeout is left for opening a new session and for the query.
const VALIDATION_SHARE: u32 = 5;

pub(super) type Pool = managed::Pool<SessionManager>;
pub(super) type PoolError = managed::PoolError<ConnectError>;
pub(super) type PooledSession = managed::Object<SessionManager>;

/// The manager that opens and validates the sessions of a pool.
pub(crate) struct SessionManager {
    connector: Connector,
    validation_timeout: Duration,
    /// The time when a session was last found dead. Sessions that have not been used since then are
    /// probably dead too, and validating each in turn could exceed the caller's timeout.
    failed_at: Mutex<Option<Instant>>,
}

impl SessionManager {
    pub(super) fn new(connector: Connector, timeout: Duration) -> Self {
        let validation_timeout = timeout / VALIDATION_SHARE;
        Self { connector, validation_timeout, failed_at: Mutex::new(None) }
    }
}

impl managed::Manager for SessionManager {
    type Type = Session;
    type Error = ConnectError;

    async fn create(&self) -> Result<Session, ConnectError> {
        // Boxed, because the future of every query would otherwise contain this large future.
        Box::pin(self.connector.open()).await
    }

    async fn recycle(
        &self,
        session: &mut Session,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if std::thread::panicking() || session.connection.is_broken() {
            return Err(RecycleError::message("the session is closed"));
        }
        let idle = metrics.last_used();
        if idle < IDLE_UNCHECKED_MAX {
            return Ok(());
        }
        let used_at = Instant::now().checked_sub(idle);
        let failed_at = *self.failed_at.lock();
        let is_distrusted = failed_at.is_some_and(|at| used_at.is_none_or(|used_at| used_at <= at));
        if idle > IDLE_MAX || is_distrusted {
            return Err(RecycleError::message("the session was idle for too long"));
        }
        // An empty query: Postgres responds without planning anything.
        let validating = session.connection.batch_execute("");
        if let Ok(Ok(())) = tokio::time::timeout(self.validation_timeout, validating).await {
            return Ok(());
        }
        *self.failed_at.lock() = Some(Instant::now());
        Err(RecycleError::message("the idle session is dead"))
    }
}
