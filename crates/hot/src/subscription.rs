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
    rising::SIGHTING_BYTES_MAX,
    state::{STATE_BYTES_MAX, StateFeed},
};

/// Publications of a kind that wait in this process until they are looked at. What comes on top is
/// let go: of messages, the next one shows that something is missing, and it is read from the stream;
/// of sightings, the newest lies under its key.
const WAITING_MAX: usize = 4_096;
/// Bytes of them; more than the largest batch of messages needs.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is published of messages, as it comes. Redis is always read, so that it never has to keep
/// anything for this process and never cuts it off.
pub struct Subscription {
    messages: Publications,
    reader: AbortHandle,
}

/// Where goes what is published beside messages, over one subscription after the other.
#[derive(Clone)]
pub struct Listeners {
    /// States, as far as there is room.
    pub states: mpsc::Sender<(StateFeed, Bytes)>,
    /// Sightings, JSON of `Sighting` each.
    pub sightings: Entrance,
}

/// Publications of one kind, in the order in which they came.
pub struct Publications {
    waiting: mpsc::Receiver<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Where publications of one kind are let in, as many as may wait.
#[derive(Clone)]
pub struct Entrance {
    publications: mpsc::Sender<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    /// What they are, for the log.
    kind: &'static str,
    /// Whether the last one was let go of.
    is_full: bool,
}

impl Hot {
    /// Subscribes to messages, takes and deletions, to the feeds that carry state, and to what rises:
    /// all but messages goes to `listeners`.
    pub async fn subscribe(&self, listeners: Listeners) -> Result<Subscription, HotError> {
        let names = Names {
            states: StateFeed::ALL.map(|feed| (feed.channel(&self.keys), feed)),
            sightings: self.keys.feed_rising(),
        };
        let mut channels = vec![self.keys.feed_messages(), names.sightings.clone()];
        channels.extend(names.states.iter().map(|(channel, _)| channel.clone()));
        let mut redis = self.connection_for_subscription().await?;
        let subscribing = redis.subscribe(channels);
        tokio::time::timeout(self.timeout, subscribing).await.map_err(|_| HotError::Timeout)??;
        let (entrance, messages) = Publications::open("messages");
        let reading = read(redis, names, entrance, listeners);
        Ok(Subscription { messages, reader: tokio::spawn(reading).abort_handle() })
    }
}

impl Subscription {
    /// Waits for the next publication; none when the subscription has ended.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.messages.next().await
    }

    /// Takes the next publication if one is there.
    pub fn try_next(&mut self) -> Option<Bytes> {
        self.messages.try_next()
    }
}

impl Publications {
    /// None yet, and where they are let in.
    #[must_use]
    pub fn open(kind: &'static str) -> (Entrance, Self) {
        let (publications, waiting) = mpsc::channel(WAITING_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let entrance = Entrance {
            publications,
            waiting_bytes: Arc::clone(&waiting_bytes),
            kind,
            is_full: false,
        };
        (entrance, Self { waiting, waiting_bytes })
    }

    /// Waits for the next one; none when nobody lets anything in any more.
    pub async fn next(&mut self) -> Option<Bytes> {
        let publication = self.waiting.recv().await?;
        self.waiting_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }

    fn try_next(&mut self) -> Option<Bytes> {
        let publication = self.waiting.try_recv().ok()?;
        self.waiting_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The channels of what is published beside messages.
struct Names {
    states: [(String, StateFeed); StateFeed::ALL.len()],
    sightings: String,
}

async fn read(redis: PubSub, names: Names, mut messages: Entrance, mut listeners: Listeners) {
    let mut published = redis.into_on_message();
    while let Some(one) = published.next().await {
        let (channel, payload) = (one.get_channel_name(), one.get_payload_bytes());
        // What is let go of lies under its key.
        if let Some((_, feed)) = names.states.iter().find(|(name, _)| name == channel) {
            let is_taken = payload.len() <= STATE_BYTES_MAX
                && listeners.states.try_send((*feed, Bytes::copy_from_slice(payload))).is_ok();
            if !is_taken {
                warn!(?feed, bytes = payload.len(), "a state is too long, or there are too many");
            }
        } else if channel != names.sightings {
            messages.let_in(Bytes::copy_from_slice(payload));
        } else if payload.len() <= SIGHTING_BYTES_MAX {
            listeners.sightings.let_in(Bytes::copy_from_slice(payload));
        } else {
            warn!(bytes = payload.len(), "a sighting is too long: left out");
        }
    }
}

impl Entrance {
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
                kind = self.kind,
                publications.max = WAITING_MAX,
                bytes.max = WAITING_BYTES_MAX,
                "too much is published to keep up: looking for it in Redis instead"
            );
        }
        self.is_full = !is_taken;
    }
}
