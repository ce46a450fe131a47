//! Accepting messages: stream entry, hot copy, inbox and publication in one atomic step, many
//! requests a round trip.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use deadpool_redis::{
    Connection,
    redis::{RedisError, Script, ScriptInvocation, Value},
};
use mayfly_core::{Channel, Message, MessageId, Timestamp, Username, limits};
use mayfly_runtime::{metrics as names, settings};
use tokio::time::Instant;

use crate::{
    acceptance::Acceptance,
    client::{Limit, add_client, marks},
    error::HotError,
    expire::Origin,
    keys::Keys,
    lane::{Lane, Trip},
    ledger::new_epoch,
    once::{Kept, Once},
    pool::Hot,
    stream::Stream,
};

static ACCEPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/client.lua"), include_str!("scripts/accept.lua")))
});

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

/// Messages of one request, to be accepted all or none.
pub struct Write {
    /// The messages.
    pub messages: Vec<NewCopy>,
    /// Where they come from.
    pub origin: Origin,
    /// The client whose limit they count for.
    pub limit: Option<Limit>,
    /// What the request is known by when it is sent again.
    pub once: Option<Once>,
}

/// As what a request was accepted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// When its first message was accepted.
    pub accepted_at: Timestamp,
    /// The ids of its messages, in their order.
    pub ids: Vec<MessageId>,
}

/// Accepts messages. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    lane: Lane<AcceptTrip>,
}

struct AcceptRequest {
    write: Write,
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
    pub async fn accept(&self, write: Write) -> Result<Acceptance<Before>, HotError> {
        self.lane.ask(AcceptRequest { write, asked_at: Instant::now() }).await
    }
}

/// What a message weighs in a trip beside its JSON: arguments, keys, the work of the script.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

impl Trip for AcceptTrip {
    type Request = AcceptRequest;
    type Answer = Acceptance<Before>;

    fn weight(&self, request: &AcceptRequest) -> usize {
        let messages = request.write.messages.iter();
        messages.map(|message| message.json.len() + MESSAGE_OVERHEAD_BYTES).sum()
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        requests: &[AcceptRequest],
    ) -> Result<Vec<Acceptance<Before>>, RedisError> {
        let keys = &self.hot.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.messages()).key(keys.epoch()).key(keys.ledger()).key(keys.waiting());
        call.arg(new_epoch()).arg(keys.feed_messages());
        call.arg(self.depth_max).arg(self.inbox_max);
        call.arg(millis(limits::WRITE_REPEATABLE_FOR)).arg(requests.len());
        for request in requests {
            add_request(&mut call, keys, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        if outcomes.first() == Some(&Value::Int(1)) {
            metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
        }
        let outcomes = outcomes.iter().skip(1).zip(requests);
        outcomes
            .map(|(outcome, request)| {
                Acceptance::read(outcome, request.write.limit.as_ref(), read_before)
            })
            .collect()
    }
}

fn add_request(call: &mut ScriptInvocation<'_>, keys: &Keys, request: &AcceptRequest) {
    let Write { messages, origin, limit, once } = &request.write;
    let (limit, once) = (limit.as_ref(), once.as_ref());
    call.arg(marks(messages.len(), limit, once)).arg(origin.as_str());
    add_client(call, keys, Stream::Messages.name(), limit, once);
    if once.is_some() {
        call.arg(what_to_keep(messages));
    }
    for message in messages {
        let copy = keys.message(message.id);
        match &message.username {
            Some(username) => call.key(&copy).key(keys.inbox(username.as_str())),
            None => call.key(&copy).key(&copy),
        };
        call.arg(message.id.to_string()).arg(message.channel.as_str());
        call.arg(&message.json[..]).arg(ttl_ms(message, request.asked_at));
    }
}

fn what_to_keep(messages: &[NewCopy]) -> String {
    let first = messages.first().map(|message| message.created_at);
    let accepted_at = first.unwrap_or(Timestamp::from_millis(0)).as_millis().to_string();
    let ids = messages.iter().map(|message| message.id).collect();
    Kept { word: &accepted_at, ids }.to_string()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is left of a message's time to live when it is written; zero only if it was born expired.
fn ttl_ms(message: &NewCopy, asked_at: Instant) -> u128 {
    let ttl = message.expires_at.since(message.created_at);
    if ttl.is_zero() { 0 } else { ttl.saturating_sub(asked_at.elapsed()).as_millis().max(1) }
}

fn read_before(kept: &[u8]) -> Option<Before> {
    let Kept { word, ids } = Kept::parse(kept)?;
    Some(Before { accepted_at: Timestamp::from_millis(word.parse().ok()?), ids })
}
