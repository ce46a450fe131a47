//! Queries in progress.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::{runtime::Handle, time::timeout};

use super::{connect::Session, pool::PooledSession, shares::Slot};

/// The maximum time that an abandoned read keeps its [`Slot`] if Postgres does not confirm the end
/// of the read.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A query in progress. If the caller times out or disconnects, the query is dropped before it
/// completes. The session then does not return to the pool, because the next query in the session
/// would wait for the abandoned response. An abandoned read is also canceled in Postgres. The read
/// keeps its [`Slot`] until Postgres confirms the end of the read, but for no longer than
/// [`CANCEL_TIMEOUT`].
pub(super) struct RunningQuery {
    /// `None` once the query has completed.
    session: Option<PooledSession>,
    is_read: bool,
    /// The slot, if the query is a read for a request.
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

    /// Completes the query. Returns its session to the pool if `is_reusable`, and closes the
    /// session otherwise.
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
                // Best effort: Postgres also aborts the statement after the statement timeout.
                let _ = timeout(CANCEL_TIMEOUT, cancel(session)).await;
                drop(slot);
            });
        }
    }
}

/// Cancels the query of a session, and waits until Postgres confirms the end of the query.
async fn cancel(mut session: Session) {
    if session.cancel_query().await.is_ok() {
        let _ = session.connection.batch_execute("").await;
    }
}
