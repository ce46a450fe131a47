//! Accepting messages: stream entry, hot copy, inbox and publication in one atomic step, many
//! requests a round trip.

use std::sync::LazyLock;

use bytes::Bytes;
use deadpool_redis::{
    Connection,
    redis::{RedisError, Script},
};
use mayfly_core::{Channel, Message, MessageId, Timestamp, Username};
use mayfly_runtime::{metrics as names, settings};
use tokio::time::Instant;

use crate::{
    error::HotError,
    expire::Origin,
    lane::{Lane, Trip},
    ledger::new_epoch,
    pool::Hot,
};

static ACCEPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/accept.lua")));

/// One message, ready to be written.
#[derive(Debug, Clone)]
pub struct NewCopy {
    /// Its id.
    pub id: MessageId,
    /// Where it is published.
    pub channel: Channel,
    /// Whose inbox it goes into.
    pub username: Option<Username>,
    /// The message as clients see it, one line of JSON.
    pub json: Bytes,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it stops to live.
    pub expires_at: Timestamp,
}

impl From<&Message> for NewCopy {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id,
            channel: message.channel.clone(),
            username: message.username.clone(),
            json: message.to_json().into(),
            created_at: message.created_at,
            expires_at: message.expires_at,
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// All its messages stand in the stream.
    Accepted,
    /// An inbox has no room for it; nothing was written.
    InboxFull,
    /// Too much waits to be stored; nothing was written.
    QueueFull,
}

/// Accepts messages. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    lane: Lane<AcceptTrip>,
}

struct AcceptRequest {
    messages: Vec<NewCopy>,
    origin: Origin,
    asked_at: Instant,
}

struct AcceptTrip {
    hot: Hot,
    depth_max: u64,
    inbox_max: u64,
}

impl Acceptor {
    /// Opens the way into the store.
    #[must_use]
    pub fn open(hot: &Hot, settings: &settings::Settings) -> Self {
        let trip = AcceptTrip {
            hot: hot.clone(),
            depth_max: settings.queue.depth_max,
            inbox_max: settings.inbox.messages_max,
        };
        let ingest = &settings.ingest;
        let lane = Lane::open(hot.clone(), trip, ingest.waiting_max, ingest.batch_bytes_max);
        Self { lane }
    }

    /// Accepts the messages of one request, all or none.
    pub async fn accept(
        &self,
        messages: Vec<NewCopy>,
        origin: Origin,
    ) -> Result<Acceptance, HotError> {
        self.lane.ask(AcceptRequest { messages, origin, asked_at: Instant::now() }).await
    }
}

/// What a message weighs in a trip beside its JSON: arguments, keys, the work of the script.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

impl Trip for AcceptTrip {
    type Request = AcceptRequest;
    type Answer = Acceptance;

    fn weight(&self, request: &AcceptRequest) -> usize {
        request.messages.iter().map(|message| message.json.len() + MESSAGE_OVERHEAD_BYTES).sum()
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        requests: &[AcceptRequest],
    ) -> Result<Vec<Acceptance>, RedisError> {
        let keys = &self.hot.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.messages()).key(keys.epoch()).key(keys.ledger()).key(keys.waiting());
        call.arg(new_epoch()).arg(keys.feed_messages());
        call.arg(self.depth_max).arg(self.inbox_max).arg(requests.len());
        for request in requests {
            call.arg(request.messages.len()).arg(request.origin.as_str());
            for message in &request.messages {
                let copy = keys.message(message.id);
                match &message.username {
                    Some(username) => call.key(&copy).key(keys.inbox(username.as_str())),
                    None => call.key(&copy).key(&copy),
                };
                call.arg(message.id.to_string()).arg(message.channel.as_str());
                call.arg(&message.json[..]).arg(ttl_ms(message, request.asked_at));
            }
        }
        let outcomes: Vec<u8> = call.invoke_async(connection).await?;
        if outcomes.first() == Some(&1) {
            metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
        }
        Ok(outcomes.into_iter().skip(1).map(acceptance).collect())
    }
}

/// What is left of a message's time to live when it is written; zero only if it was born expired.
fn ttl_ms(message: &NewCopy, asked_at: Instant) -> u128 {
    let ttl = message.expires_at.since(message.created_at);
    if ttl.is_zero() { 0 } else { ttl.saturating_sub(asked_at.elapsed()).as_millis().max(1) }
}

fn acceptance(outcome: u8) -> Acceptance {
    match outcome {
        0 => Acceptance::Accepted,
        1 => Acceptance::InboxFull,
        _ => Acceptance::QueueFull,
    }
}
