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

use crate::{
    error::HotError,
    pool::Hot,
    state::{STATE_BYTES_MAX, StateFeed},
};

/// Publications that wait in this process until they are looked at. What comes on top is let go:
/// the next one shows that something is missing, and it is read from the stream.
const WAITING_MAX: usize = 4_096;
/// Bytes of them; more than the largest batch of messages needs.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is published of messages, as it comes. Redis is always read, so that it never has to keep
/// anything for this process and never cuts it off.
pub struct Subscription {
    publications: mpsc::Receiver<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    reader: AbortHandle,
}

impl Hot {
    /// Subscribes to messages, takes and deletions, and to the feeds that carry state: what comes of
    /// these goes to `states`, as far as there is room.
    pub async fn subscribe(
        &self,
        states: mpsc::Sender<(StateFeed, Bytes)>,
    ) -> Result<Subscription, HotError> {
        let of_states = StateFeed::ALL.map(|feed| feed.channel(&self.keys));
        let mut channels = vec![self.keys.feed_messages()];
        channels.extend_from_slice(&of_states);
        let mut redis = self.connection_for_subscription().await?;
        let subscribing = redis.subscribe(channels);
        tokio::time::timeout(self.timeout, subscribing).await.map_err(|_| HotError::Timeout)??;
        let (entrance, publications) = mpsc::channel(WAITING_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let entrance = Entrance::new(entrance, Arc::clone(&waiting_bytes));
        let reading =
            read(redis, entrance, of_states.into_iter().zip(StateFeed::ALL).collect(), states);
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

async fn read(
    redis: PubSub,
    mut messages: Entrance,
    feeds: Vec<(String, StateFeed)>,
    states: mpsc::Sender<(StateFeed, Bytes)>,
) {
    let mut published = redis.into_on_message();
    while let Some(one) = published.next().await {
        let (channel, payload) = (one.get_channel_name(), one.get_payload_bytes());
        let Some((_, feed)) = feeds.iter().find(|(name, _)| name == channel) else {
            messages.let_in(Bytes::copy_from_slice(payload));
            continue;
        };
        // What is let go of lies under its key.
        let fits = payload.len() <= STATE_BYTES_MAX;
        if !fits || states.try_send((*feed, Bytes::copy_from_slice(payload))).is_err() {
            warn!(?feed, bytes = payload.len(), "a state is too long, or there are too many");
        }
    }
}

/// Where publications of messages are let in, as many as may wait.
struct Entrance {
    publications: mpsc::Sender<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Whether the last one was let go of.
    is_full: bool,
}

impl Entrance {
    fn new(publications: mpsc::Sender<Bytes>, waiting_bytes: Arc<AtomicUsize>) -> Self {
        Self { publications, waiting_bytes, is_full: false }
    }

    fn let_in(&mut self, publication: Bytes) {
        let bytes = publication.len();
        let fits = self.waiting_bytes.load(Ordering::Relaxed) + bytes <= WAITING_BYTES_MAX;
        let is_taken = fits && {
            self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            let taken = self.publications.try_send(publication).is_ok();
            if !taken {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            taken
        };
        if !is_taken && !self.is_full {
            warn!(
                publications.max = WAITING_MAX,
                bytes.max = WAITING_BYTES_MAX,
                "too much is published to keep up: reading it from the stream instead"
            );
        }
        self.is_full = !is_taken;
    }
}
