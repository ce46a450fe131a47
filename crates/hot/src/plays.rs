//! Accepting plays: an entry of the stream for each request, many requests a round trip.

use std::sync::LazyLock;

use bytes::Bytes;
use deadpool_redis::{
    Connection,
    redis::{RedisError, Script, ScriptInvocation, Value},
};
use mayfly_core::limits;
use mayfly_runtime::settings;

use crate::{
    accept::millis,
    acceptance::Acceptance,
    client::{Limit, add_client, marks},
    error::HotError,
    expire::Origin,
    lane::{Lane, Trip},
    ledger::new_epoch,
    once::Once,
    pool::Hot,
    stream::Stream,
};

static ACCEPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("scripts/client.lua"),
        include_str!("scripts/accept_plays.lua")
    ))
});

/// Plays of one request, to be accepted all or none.
pub struct PlaysWrite {
    /// How many.
    pub count: usize,
    /// The body of their entry.
    pub json: Bytes,
    /// Where they come from.
    pub origin: Origin,
    /// The client whose limit they count for.
    pub limit: Option<Limit>,
    /// What the request is known by when it is sent again.
    pub once: Option<Once>,
}

/// Accepts plays. Cheap to clone.
#[derive(Clone)]
pub struct PlaysAcceptor {
    lane: Lane<PlaysTrip>,
}

struct PlaysTrip {
    hot: Hot,
    depth_max: u64,
}

impl PlaysAcceptor {
    /// Opens the way into the store.
    #[must_use]
    pub fn open(hot: &Hot, settings: &settings::Settings) -> Self {
        let trip = PlaysTrip { hot: hot.clone(), depth_max: settings.queue.depth_max };
        let ingest = &settings.ingest;
        let lane = Lane::open(hot.clone(), trip, ingest.waiting_max, ingest.batch_bytes_max);
        Self { lane }
    }

    /// Accepts the plays of one request, all or none.
    pub async fn accept(&self, write: PlaysWrite) -> Result<Acceptance, HotError> {
        self.lane.ask(write).await
    }
}

/// What a request weighs in a trip beside its JSON: arguments, keys, the work of the script.
const REQUEST_OVERHEAD_BYTES: usize = 512;

impl Trip for PlaysTrip {
    type Request = PlaysWrite;
    type Answer = Acceptance;

    fn weight(&self, request: &PlaysWrite) -> usize {
        request.json.len() + REQUEST_OVERHEAD_BYTES
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        requests: &[PlaysWrite],
    ) -> Result<Vec<Acceptance>, RedisError> {
        let keys = &self.hot.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.plays()).key(keys.epoch()).key(keys.ledger());
        call.arg(new_epoch()).arg(self.depth_max);
        call.arg(millis(limits::WRITE_REPEATABLE_FOR)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        let outcomes = outcomes.iter().zip(requests);
        outcomes
            .map(|(outcome, write)| Acceptance::read(outcome, write.limit.as_ref(), |_| Some(())))
            .collect()
    }
}

impl PlaysTrip {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &PlaysWrite) {
        let PlaysWrite { count, json, origin, limit, once } = write;
        let (limit, once) = (limit.as_ref(), once.as_ref());
        call.arg(marks(*count, limit, once)).arg(origin.as_str()).arg(&json[..]);
        add_client(call, &self.hot.keys, Stream::Plays.name(), limit, once);
    }
}
