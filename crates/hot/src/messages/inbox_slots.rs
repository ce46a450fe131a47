//! A limit on the number of inboxes that a process reads concurrently.

use std::{sync::Arc, time::Duration};

use mayfly_runtime::settings::Settings;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::connection::HotError;

/// The slots for requests that read inboxes. Cheap to clone; all threads of a process share the
/// slots. A request holds a slot while it lists or takes messages, because it collects up to a page
/// of messages in memory.
#[derive(Debug, Clone)]
pub struct InboxSlots {
    slots: Arc<Semaphore>,
    timeout: Duration,
}

impl InboxSlots {
    /// Creates the slots of a process.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let slots = Arc::new(Semaphore::new(settings.list.inboxes_max));
        Self { slots, timeout: settings.redis.queue_timeout }
    }

    /// Waits for a slot. The slot is released when the permit is dropped.
    ///
    /// # Errors
    /// [`HotError::Overloaded`] if all slots stay in use for `redis.queue_timeout`.
    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, HotError> {
        match timeout(self.timeout, self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(HotError::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: usize) -> InboxSlots {
        let key = ("MAYFLY_LIST__INBOXES_MAX".to_owned(), count.to_string());
        InboxSlots::new(&Settings::from_layers(None, [key].into_iter()).expect("valid settings"))
    }

    #[tokio::test(start_paused = true)]
    async fn request_waits_for_a_slot_for_a_limited_time() {
        let slots = slots(2);
        let first = slots.acquire().await.expect("a free slot");
        let _second = slots.acquire().await.expect("a free slot");
        let error = slots.acquire().await.expect_err("all slots are in use");
        assert!(matches!(error, HotError::Overloaded));
        let (third, ()) = tokio::join!(slots.acquire(), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        });
        drop(third.expect("a slot was released in time"));
    }
}
