//! Accepts plays: adds one stream entry per accepted request.

use bytes::Bytes;
use deadpool_redis::redis::{RedisError, ScriptInvocation, Value, aio::MultiplexedConnection};
use mayfly_core::limits;
use mayfly_runtime::settings::Settings;

use crate::{
    connection::{BatchCommand, BatchLimits, Batcher, HotError, HotStore, millis, script},
    queue::Stream,
    write::{
        ClientLimit, ExhaustedClients, IdempotentRequest, Origin, WriteOutcome,
        add_client_arguments, request_header,
    },
};

script!(ACCEPT, include_str!("../write/rate_limit.lua"), include_str!("accept_plays.lua"));

/// A request to accept either all of the given plays or none of them.
pub struct PlayWriteRequest {
    /// The number of plays.
    pub count: usize,
    /// The body of the stream entry: the plays as JSON.
    pub json: Bytes,
    /// The request ID and trace context.
    pub origin: Origin,
    /// The rate limit of the client, if there is one.
    pub limit: Option<ClientLimit>,
    /// The idempotency key, if there is one.
    pub idempotency: Option<IdempotentRequest>,
}

impl PlayWriteRequest {
    /// Returns the approximate size of the request in memory and in a batch, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.json.len() + REQUEST_OVERHEAD_BYTES
    }
}

/// A writer that accepts plays in batches. Cheap to clone.
#[derive(Clone)]
pub struct PlayWriter {
    store: HotStore,
    clients: ExhaustedClients,
    batcher: Batcher<PlayWriteRequest, WriteOutcome>,
}

struct AcceptPlays {
    store: HotStore,
    depth_max: u64,
}

impl PlayWriter {
    /// Starts a writer. `clients` stores the clients that have exceeded their rate limit for plays.
    #[must_use]
    pub fn start(store: &HotStore, settings: &Settings, clients: ExhaustedClients) -> Self {
        let command = AcceptPlays { store: store.clone(), depth_max: settings.queue.depth_max };
        let batcher = Batcher::start(store, command, BatchLimits::from(&settings.ingest));
        Self { store: store.clone(), clients, batcher }
    }

    /// Returns an error if a request with a body of `bytes` bytes would be refused now. Counts the
    /// refusal, unless the writer has stopped.
    pub fn check_capacity(&self, bytes: usize) -> Result<(), HotError> {
        self.batcher.check_capacity(bytes.saturating_add(REQUEST_OVERHEAD_BYTES))
    }

    /// Accepts either all plays in a request or none of them.
    pub async fn write(&self, write: PlayWriteRequest) -> Result<WriteOutcome, HotError> {
        let (kind, items) = (Stream::Plays.name(), write.count);
        let (limit, idempotency) = (write.limit.clone(), write.idempotency.clone());
        let weight = write.weight();
        let submission = self.batcher.submit(write, weight);
        self.clients.submit(&self.store, kind, items, limit, idempotency, submission).await
    }
}

/// The estimated overhead of a request in a batch, in bytes, in addition to its JSON: its other
/// arguments and keys, plus an allowance for the script's work on the request.
const REQUEST_OVERHEAD_BYTES: usize = 512;

impl BatchCommand for AcceptPlays {
    type Request = PlayWriteRequest;
    type Response = WriteOutcome;

    async fn execute(
        &self,
        connection: &mut MultiplexedConnection,
        requests: &[PlayWriteRequest],
    ) -> Result<Vec<WriteOutcome>, RedisError> {
        let keys = &self.store.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.plays()).key(keys.epoch()).key(keys.ledger());
        call.arg(self.store.new_epoch()).arg(self.depth_max);
        call.arg(millis(limits::WRITE_IDEMPOTENCY_TTL)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let items = requests.iter().map(|request| request.count).sum();
        let pending = self.store.accepted_totals.begin(Stream::Plays, items);
        let outcomes: Result<Vec<Value>, RedisError> = call.invoke_async(connection).await;
        pending.resolve(&outcomes, requests.len());
        let outcomes = outcomes?;
        let limits = requests.iter().map(|write| write.limit.as_ref());
        WriteOutcome::parse_batch(&outcomes, limits, |_| Some(()))
    }
}

impl AcceptPlays {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &PlayWriteRequest) {
        let PlayWriteRequest { count, json, origin, limit, idempotency } = write;
        let (limit, idempotency) = (limit.as_ref(), idempotency.as_ref());
        call.arg(request_header(*count, limit, idempotency)).arg(origin.as_str()).arg(&json[..]);
        add_client_arguments(call, &self.store.keys, Stream::Plays.name(), limit, idempotency);
    }
}
