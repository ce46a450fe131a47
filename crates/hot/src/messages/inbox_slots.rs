//! A limit on the number of inboxes that a process reads concurrently.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use crate::connection::{
    HotError, HotStore,
    metrics::{EXPIRED, record_shed_request},
};

/// The slots for requests that read inboxes. Cheap to clone; all threads of a process share the
/// slots. A request holds a slot while it lists or takes messages, because it collects up to a page
/// of messages in memory.
#[derive(Debug, Clone)]
pub struct InboxSlots {
    slots: Arc<Semaphore>,
    queue_timeout: Duration,
}

/// A slot in use. The slot is released on drop.
#[derive(Debug)]
pub struct InboxSlot<'a> {
    _permit: SemaphorePermit<'a>,
    /// The time when the wait for the slot began.
    pub(super) submitted_at: Instant,
}

impl InboxSlots {
    /// Creates the slots of a process.
    #[must_use]
    pub fn new(store: &HotStore, count: usize) -> Self {
        let slots = Arc::new(Semaphore::new(count));
        Self { slots, queue_timeout: store.queue_timeout() }
    }

    /// Waits for a slot.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if all slots stay in use for the queue timeout.
    pub async fn acquire(&self) -> Result<InboxSlot<'_>, HotError> {
        let submitted_at = Instant::now();
        if let Ok(Ok(permit)) = timeout(self.queue_timeout, self.slots.acquire()).await {
            return Ok(InboxSlot { _permit: permit, submitted_at });
        }
        record_shed_request(EXPIRED);
        Err(HotError::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::settings::Settings;
    use metrics::set_default_local_recorder;

    use super::*;
    use crate::connection::{metrics::REQUESTS_SHED_TOTAL, test_metrics::TestRecorder};

    fn slots(count: usize) -> InboxSlots {
        let env = [("MAYFLY_REDIS__TIMEOUT", "300ms"), ("MAYFLY_REDIS__QUEUE_TIMEOUT", "250ms")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        InboxSlots::new(&HotStore::new(&settings.redis).expect("a valid URL"), count)
    }

    #[tokio::test(start_paused = true)]
    async fn request_waits_for_a_slot_for_a_limited_time() {
        let recorder = TestRecorder::default();
        let _guard = set_default_local_recorder(&recorder);
        let slots = slots(2);
        let first = slots.acquire().await.expect("a free slot");
        let _second = slots.acquire().await.expect("a free slot");
        let (third, ()) = tokio::join!(slots.acquire(), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        });
        let _third = third.expect("a slot was released in time");
        let series = format!("{REQUESTS_SHED_TOTAL} {EXPIRED}");
        assert_eq!(recorder.counter(&series), None);
        let submitted_at = Instant::now();
        let error = slots.acquire().await.expect_err("all slots are in use");
        assert!(matches!(error, HotError::Overloaded));
        let waited = submitted_at.elapsed();
        assert!(waited < Duration::from_millis(160), "half of the timeout: {waited:?}");
        assert_eq!(recorder.counter(&series), Some(1), "the request is counted");
    }
}
