//! The limit on events in flight to the workers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::worker_event::WorkerEvent;

/// Maximum total size of the events that at least one worker has not handled, in KiB. An event
/// counts once, because all workers share its bytes. When the limit is reached, the feeds wait, and
/// Redis keeps the data.
const KIB_MAX: u32 = 16 * 1024;

/// An event in a worker's event channel.
#[derive(Clone)]
pub(crate) struct SentEvent {
    pub(crate) event: WorkerEvent,
    /// Released when the last worker has handled the event.
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The budget for events in flight.
pub(super) struct InFlight(Arc<Semaphore>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(KIB_MAX as usize)))
    }
}

impl InFlight {
    /// Waits until an event fits into the budget, and reserves its size. An event that is larger
    /// than the budget reserves the whole budget.
    pub(super) async fn admit(&self, event: WorkerEvent) -> SentEvent {
        let kib = u32::try_from(event.size_bytes() / 1024).unwrap_or(KIB_MAX);
        let permit = Arc::clone(&self.0).acquire_many_owned(kib.min(KIB_MAX)).await;
        let permit = permit.expect("invariant: the semaphore is never closed");
        SentEvent { event, _permit: Arc::new(permit) }
    }
}
