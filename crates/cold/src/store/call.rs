//! Queries in progress.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::{runtime::Handle, time::timeout};

use super::{connect::Session, pool::PooledSession, shares::Slot};

/// How long the slot of an abandoned read stays in use if Postgres does not confirm that the read
/// has ended.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A query in progress. If it is dropped before it completes, because its caller timed out or
/// disconnected, the session does not return to the pool: the next query would wait for the
/// response to this one. A read is canceled in Postgres, and uses its slot until it has ended.
pub(super) struct RunningQuery {
    /// `None` once the query has completed.
    session: Option<PooledSession>,
    is_read: bool,
    /// The slot of a read that a request causes.
    slot: Option<Slot>,
}

impl RunningQuery {
    pub(super) fn new(session: PooledSession, is_read: bool, slot: Option<Slot>) -> Self {
        Self { session: Some(session), is_read, slot }
    }

    /// Returns the session.
    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("invariant: a running query has a session")
    }

    /// Ends a query that has completed. Its session returns to the pool if `is_reusable`.
    pub(super) fn complete(mut self, is_reusable: bool) {
        if let Some(session) = self.session.take().filter(|_| !is_reusable) {
            drop(PooledSession::take(session));
        }
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        let Some(session) = self.session.take().map(PooledSession::take) else { return };
        let slot = self.slot.take();
        if let Ok(runtime) = Handle::try_current()
            && self.is_read
        {
            runtime.spawn(async move {
                // Best effort: Postgres also aborts the statement after its timeout.
                let _ = timeout(CANCEL_TIMEOUT, cancel(session)).await;
                drop(slot);
            });
        }
    }
}

/// Cancels the query of a session, and waits until Postgres has ended it.
async fn cancel(mut session: Session) {
    if session.cancel_query().await.is_ok() {
        let _ = session.connection.batch_execute("").await;
    }
}
