//! The one subscription of a process to what is published.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use deadpool_redis::redis::aio::PubSub;
use futures_util::StreamExt;
use tokio::{sync::mpsc, task::AbortHandle};
use tracing::warn;

use crate::{error::HotError, pool::Hot};

/// Publications that wait in this process until they are looked at. What comes on top is let go:
/// the next one shows that something is missing, and it is read from the stream.
const WAITING_MAX: usize = 4_096;
/// Bytes of them; more than the largest batch of messages needs.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is published, as it comes. Redis is always read, so that it never has to keep anything for
/// this process and never cuts it off.
pub struct Subscription {
    publications: mpsc::Receiver<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    reader: AbortHandle,
}

impl Hot {
    /// Subscribes to messages, takes and deletions.
    pub async fn subscribe_messages(&self) -> Result<Subscription, HotError> {
        let mut redis = self.connection_for_subscription().await?;
        let subscribing = redis.subscribe(self.keys.feed_messages());
        tokio::time::timeout(self.timeout, subscribing).await.map_err(|_| HotError::Timeout)??;
        let (entrance, publications) = mpsc::channel(WAITING_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let reading = read(redis, entrance, Arc::clone(&waiting_bytes));
        Ok(Subscription {
            publications,
            waiting_bytes,
            reader: tokio::spawn(reading).abort_handle(),
        })
    }
}

impl Subscription {
    /// Waits for the next publication; none when the subscription has ended.
    pub async fn next(&mut self) -> Option<Bytes> {
        let publication = self.publications.recv().await?;
        self.waiting_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }

    /// Takes the next publication if one is there.
    pub fn try_next(&mut self) -> Option<Bytes> {
        let publication = self.publications.try_recv().ok()?;
        self.waiting_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(redis: PubSub, entrance: mpsc::Sender<Bytes>, waiting_bytes: Arc<AtomicUsize>) {
    let mut messages = redis.into_on_message();
    let mut is_full = false;
    while let Some(message) = messages.next().await {
        let publication = Bytes::copy_from_slice(message.get_payload_bytes());
        let bytes = publication.len();
        let fits = waiting_bytes.load(Ordering::Relaxed) + bytes <= WAITING_BYTES_MAX;
        let is_taken = fits && {
            waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            let taken = entrance.try_send(publication).is_ok();
            if !taken {
                waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            taken
        };
        if !is_taken && !is_full {
            warn!(
                publications.max = WAITING_MAX,
                bytes.max = WAITING_BYTES_MAX,
                "too much is published to keep up: reading it from the stream instead"
            );
        }
        is_full = !is_taken;
    }
}
