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
        let dropped =
            || OutageLog::new("receive publications (dropped ones are read from Redis later)");
        let channels = Channels {
            states: StateFeed::ALL.map(|feed| (self.keys.feed(feed.feed()), feed, dropped())),
            trends: (self.keys.feed(Feed::Rising), dropped()),
        };
        let mut names = vec![self.keys.feed(Feed::Messages), channels.trends.0.clone()];
        names.extend(channels.states.iter().map(|(name, ..)| name.clone()));
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

/// The pub/sub channels other than the message channel. Each has its own log of dropped
/// publications, because a success on one channel does not end an outage on another.
struct Channels {
    states: [(String, StateFeed, OutageLog); StateFeed::ALL.len()],
    trends: (String, OutageLog),
}

async fn read(
    pubsub: PubSub,
    channels: Channels,
    mut messages: BoundedSink,
    mut sinks: EventSinks,
) {
    let mut publications = pubsub.into_on_message();
    while let Some(publication) = publications.next().await {
        let (channel, payload) = (publication.get_channel_name(), publication.get_payload_bytes());
        forward(channel, payload, &channels, &mut messages, &mut sinks);
    }
}

/// Sends a publication to its destination, or drops a publication that is too long or does not fit
/// into the queue.
fn forward(
    channel: &str,
    payload: &[u8],
    channels: &Channels,
    messages: &mut BoundedSink,
    sinks: &mut EventSinks,
) {
    let (trends, dropped_trends) = &channels.trends;
    if let Some((_, feed, dropped)) = channels.states.iter().find(|(name, ..)| name == channel) {
        let is_sent = payload.len() <= STATE_BYTES_MAX
            && sinks.states.try_send((*feed, Bytes::copy_from_slice(payload))).is_ok();
        if is_sent {
            dropped.record_success();
        } else {
            dropped.record_failure(format_args!(
                "the state of {feed:?} is longer than {STATE_BYTES_MAX} bytes, or the queue is full"
            ));
        }
    } else if channel != trends {
        messages.try_push(Bytes::copy_from_slice(payload));
    } else if payload.len() <= TREND_BYTES_MAX {
        sinks.trends.try_push(Bytes::copy_from_slice(payload));
        dropped_trends.record_success();
    } else {
        dropped_trends.record_failure(format_args!(
            "a trend snapshot is longer than {TREND_BYTES_MAX} bytes"
        ));
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber;

    use super::*;
    use crate::connection::test_log::LogLines;

    #[test]
    fn success_on_one_channel_does_not_end_an_outage_on_another() {
        let log = || OutageLog::new("receive publications");
        let channels = Channels {
            states: StateFeed::ALL.map(|feed| (format!("{feed:?}"), feed, log())),
            trends: ("trends".to_owned(), log()),
        };
        let (mut messages, _messages) = Publications::open("messages");
        let (trends, _trends) = Publications::open("trend snapshots");
        let (states, _states) = mpsc::channel(64);
        let mut sinks = EventSinks { states, trends };
        let too_long = vec![b' '; TREND_BYTES_MAX.max(STATE_BYTES_MAX) + 1];
        let [one, other] = StateFeed::ALL.map(|feed| format!("{feed:?}"));
        let mut receive = |channel: &str, payload: &[u8]| {
            forward(channel, payload, &channels, &mut messages, &mut sinks);
        };
        let lines = LogLines::default();
        subscriber::with_default(lines.clone(), || {
            for _ in 0..3 {
                receive("trends", &too_long);
                receive(&one, &too_long);
                receive(&other, b"{}");
            }
            receive("trends", b"{}");
            receive(&one, b"{}");
        });
        // Each of the two outages begins and ends once.
        assert_eq!(lines.count(), 4);
    }
}
