//! The pub/sub subscription of a process.

use bytes::Bytes;
use deadpool_redis::redis::aio::PubSub;
use futures_util::StreamExt;
use mayfly_core::{Feed, StateFeed};
use mayfly_runtime::OutageLog;
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use crate::{
    connection::{HotError, HotStore},
    feeds::{BoundedSink, Publications},
    snapshots::STATE_BYTES_MAX,
    trends::TREND_BYTES_MAX,
};

/// A pub/sub subscription, which returns the publications of messages. A task reads continuously
/// from Redis, so that the output buffer in Redis stays small and Redis does not disconnect this
/// process.
pub struct Subscription {
    messages: Publications,
    reader: AbortHandle,
}

/// The destinations for publications other than messages. The process uses the same destinations
/// when it subscribes again.
#[derive(Clone)]
pub struct EventSinks {
    /// The states of feeds. A state that does not fit into the queue is dropped, which loses
    /// nothing because Redis stores the newest state.
    pub states: mpsc::Sender<(StateFeed, Bytes)>,
    /// Trend snapshots, each as the JSON of a `TrendSnapshot`.
    pub trends: BoundedSink,
}

impl HotStore {
    /// Subscribes to the pub/sub channels for messages (including takes and deletions), states and
    /// trend snapshots. States and trend snapshots are sent to `sinks`.
    pub async fn subscribe(&self, sinks: EventSinks) -> Result<Subscription, HotError> {
        let channels = Channels {
            states: StateFeed::ALL.map(|feed| (self.keys.feed(feed.feed()), feed)),
            trends: self.keys.feed(Feed::Rising),
        };
        let mut names = vec![self.keys.feed(Feed::Messages), channels.trends.clone()];
        names.extend(channels.states.iter().map(|(name, _)| name.clone()));
        let mut pubsub = self.connection_for_subscription().await?;
        let subscribing = pubsub.subscribe(names);
        timeout(self.timeout, subscribing).await.map_err(|_| HotError::Timeout)??;
        let (sink, messages) = Publications::open("messages");
        let reader = tokio::spawn(read(pubsub, channels, sink, sinks)).abort_handle();
        Ok(Subscription { messages, reader })
    }
}

impl Subscription {
    /// Waits for the next publication of messages. Returns `None` once the connection is closed and
    /// no publication is queued.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.messages.next().await
    }

    /// Returns the next publication of messages if one is queued.
    pub fn try_next(&mut self) -> Option<Bytes> {
        self.messages.try_next()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The pub/sub channels other than the message channel.
struct Channels {
    states: [(String, StateFeed); StateFeed::ALL.len()],
    trends: String,
}

async fn read(
    pubsub: PubSub,
    channels: Channels,
    mut messages: BoundedSink,
    mut sinks: EventSinks,
) {
    let dropped = OutageLog::new("receive publications (dropped ones are read from Redis later)");
    let mut publications = pubsub.into_on_message();
    while let Some(publication) = publications.next().await {
        let (channel, payload) = (publication.get_channel_name(), publication.get_payload_bytes());
        if let Some((_, feed)) = channels.states.iter().find(|(name, _)| name == channel) {
            let is_sent = payload.len() <= STATE_BYTES_MAX
                && sinks.states.try_send((*feed, Bytes::copy_from_slice(payload))).is_ok();
            if is_sent {
                dropped.record_success();
            } else {
                dropped.record_failure(format_args!(
                    "the state of {feed:?} is longer than {STATE_BYTES_MAX} bytes, or the queue is \
                     full"
                ));
            }
        } else if channel != channels.trends {
            messages.try_push(Bytes::copy_from_slice(payload));
        } else if payload.len() <= TREND_BYTES_MAX {
            sinks.trends.try_push(Bytes::copy_from_slice(payload));
        } else {
            dropped.record_failure(format_args!(
                "a trend snapshot is longer than {TREND_BYTES_MAX} bytes"
            ));
        }
    }
}
