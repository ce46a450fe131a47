//! Accepts messages: writes the stream entry, the hot copy and the inbox, and publishes the
//! message, in one atomic step.

use bytes::Bytes;
use deadpool_redis::redis::{RedisError, ScriptInvocation, Value, aio::MultiplexedConnection};
use mayfly_core::{Channel, Feed, Message, MessageId, Timestamp, Username, limits};
use mayfly_runtime::settings::Settings;
use tokio::time::Instant;

use crate::{
    connection::{BatchCommand, BatchLimits, Batcher, HotError, HotStore, millis, script},
    keys::Keys,
    metrics as names,
    queue::Stream,
    write::{
        ClientLimit, ExhaustedClients, IdempotentRequest, Origin, StoredOutcome, WriteOutcome,
        add_client_arguments, request_header,
    },
};

script!(ACCEPT, include_str!("../write/rate_limit.lua"), include_str!("accept_messages.lua"));

/// A message to be written.
#[derive(Debug, Clone)]
pub struct MessageWrite {
    /// The message ID.
    pub id: MessageId,
    /// The channel of the message.
    pub channel: Channel,
    /// The username of the message, if there is one. The message is added to the inbox of this
    /// username.
    pub username: Option<Username>,
    /// The message as clients receive it, as one line of JSON.
    pub json: Bytes,
    /// The time of acceptance.
    pub created_at: Timestamp,
    /// The expiry time.
    pub expires_at: Timestamp,
}

impl From<&Message> for MessageWrite {
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

/// A request to accept either all of its messages or none of them.
pub struct MessageWriteRequest {
    /// The messages.
    pub messages: Vec<MessageWrite>,
    /// The request ID and trace context of the request.
    pub origin: Origin,
    /// The rate limit of the client, if there is one.
    pub limit: Option<ClientLimit>,
    /// The idempotency key, if there is one.
    pub idempotency: Option<IdempotentRequest>,
}

impl MessageWriteRequest {
    /// Returns the approximate size of the request in memory and in a batch, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let messages = self.messages.iter();
        messages.map(|message| message.json.len() + MESSAGE_OVERHEAD_BYTES).sum()
    }
}

/// The stored outcome of a request that was accepted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedWrite {
    /// The acceptance time of the first message in the request.
    pub accepted_at: Timestamp,
    /// The IDs of the messages, in the order of the request.
    pub ids: Vec<MessageId>,
}

/// A writer that accepts messages in batches. Cheap to clone.
#[derive(Clone)]
pub struct MessageWriter {
    store: HotStore,
    clients: ExhaustedClients,
    batcher: Batcher<SubmittedRequest, WriteOutcome<ReplayedWrite>>,
}

struct SubmittedRequest {
    write: MessageWriteRequest,
    submitted_at: Instant,
}

struct AcceptMessages {
    store: HotStore,
    depth_max: u64,
    inbox_max: u64,
}

impl MessageWriter {
    /// Starts a writer. `clients` stores the clients that have exceeded their rate limit for
    /// messages.
    #[must_use]
    pub fn start(store: &HotStore, settings: &Settings, clients: ExhaustedClients) -> Self {
        let command = AcceptMessages {
            store: store.clone(),
            depth_max: settings.queue.depth_max,
            inbox_max: settings.inbox.messages_max,
        };
        let batcher = Batcher::start(store, command, BatchLimits::from(&settings.ingest));
        Self { store: store.clone(), clients, batcher }
    }

    /// Returns an error if a request with a body of `bytes` bytes and this number of messages would
    /// be refused now. Counts the refusal, unless the writer has stopped.
    pub fn check_capacity(&self, bytes: usize, messages: usize) -> Result<(), HotError> {
        self.batcher.check_capacity(bytes.saturating_add(messages * MESSAGE_OVERHEAD_BYTES))
    }

    /// Accepts either all messages in a request or none of them.
    pub async fn write(
        &self,
        write: MessageWriteRequest,
    ) -> Result<WriteOutcome<ReplayedWrite>, HotError> {
        let (kind, items) = (Stream::Messages.name(), write.messages.len());
        let (limit, idempotency) = (write.limit.clone(), write.idempotency.clone());
        let weight = write.weight();
        let submission = async {
            let request = SubmittedRequest { write, submitted_at: Instant::now() };
            self.batcher.submit(request, weight).await
        };
        self.clients.submit(&self.store, kind, items, limit, idempotency, submission).await
    }
}

/// The estimated size of a message's keys and its arguments other than the JSON, plus an allowance
/// for the script's work on the message, in bytes.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

impl BatchCommand for AcceptMessages {
    type Request = SubmittedRequest;
    type Response = WriteOutcome<ReplayedWrite>;

    async fn execute(
        &self,
        connection: &mut MultiplexedConnection,
        requests: &[SubmittedRequest],
    ) -> Result<Vec<WriteOutcome<ReplayedWrite>>, RedisError> {
        let keys = &self.store.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.messages()).key(keys.epoch()).key(keys.ledger()).key(keys.waiting());
        call.arg(self.store.new_epoch()).arg(keys.feed(Feed::Messages));
        call.arg(self.depth_max).arg(self.inbox_max);
        call.arg(millis(limits::WRITE_IDEMPOTENCY_TTL)).arg(requests.len());
        for request in requests {
            add_request(&mut call, keys, request);
        }
        let items = requests.iter().map(|request| request.write.messages.len()).sum();
        let pending = self.store.accepted_totals.begin(Stream::Messages, items);
        let reply: Result<Vec<Value>, RedisError> = call.invoke_async(connection).await;
        pending.resolve(&reply, 1 + requests.len());
        let reply = reply?;
        if reply.first() == Some(&Value::Int(1)) {
            metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
        }
        let limits = requests.iter().map(|request| request.write.limit.as_ref());
        WriteOutcome::parse_batch(reply.get(1..).unwrap_or_default(), limits, parse_replayed)
    }
}

fn add_request(call: &mut ScriptInvocation<'_>, keys: &Keys, request: &SubmittedRequest) {
    let MessageWriteRequest { messages, origin, limit, idempotency } = &request.write;
    let (limit, idempotency) = (limit.as_ref(), idempotency.as_ref());
    call.arg(request_header(messages.len(), limit, idempotency)).arg(origin.as_str());
    add_client_arguments(call, keys, Stream::Messages.name(), limit, idempotency);
    if idempotency.is_some() {
        call.arg(outcome_to_store(messages));
    }
    for message in messages {
        let copy = keys.message(message.id);
        match &message.username {
            Some(username) => call.key(&copy).key(keys.inbox(username.as_str())),
            None => call.key(&copy).key(&copy),
        };
        call.arg(message.id.encode(&mut [0; MessageId::TEXT_BYTES])).arg(message.channel.as_str());
        call.arg(&message.json[..]).arg(ttl_ms(message, request.submitted_at));
    }
}

fn outcome_to_store(messages: &[MessageWrite]) -> String {
    let first = messages.first().map(|message| message.created_at);
    let accepted_at = first.unwrap_or(Timestamp::from_millis(0)).as_millis().to_string();
    let ids = messages.iter().map(|message| message.id).collect();
    StoredOutcome { summary: &accepted_at, ids }.to_string()
}

fn parse_replayed(stored: &[u8]) -> Option<ReplayedWrite> {
    let StoredOutcome { summary, ids } = StoredOutcome::parse(stored)?;
    Some(ReplayedWrite { accepted_at: Timestamp::from_millis(summary.parse().ok()?), ids })
}

/// Returns the remaining time to live in ms; zero only if the message had already expired when it
/// was created.
fn ttl_ms(message: &MessageWrite, submitted_at: Instant) -> u128 {
    let ttl = message.expires_at.since(message.created_at);
    if ttl.is_zero() { 0 } else { ttl.saturating_sub(submitted_at.elapsed()).as_millis().max(1) }
}
