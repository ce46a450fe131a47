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
    accept::{Allowance, Limit, millis, read_allowance},
    error::{HotError, unexpected_answer},
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

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaysAcceptance {
    /// Its plays stand in the stream; with what is left, if there is a limit.
    Accepted(Option<Allowance>),
    /// It was accepted before.
    AcceptedBefore,
    /// Another request was accepted under its key; nothing was written.
    KeyReused,
    /// It is more than is left of the limit; nothing was written.
    LimitReached(Allowance),
    /// Too many plays wait to be counted; nothing was written.
    QueueFull,
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
    pub async fn accept(&self, write: PlaysWrite) -> Result<PlaysAcceptance, HotError> {
        self.lane.ask(write).await
    }
}

/// What a request weighs in a trip beside its JSON: arguments, keys, the work of the script.
const REQUEST_OVERHEAD_BYTES: usize = 512;

impl Trip for PlaysTrip {
    type Request = PlaysWrite;
    type Answer = PlaysAcceptance;

    fn weight(&self, request: &PlaysWrite) -> usize {
        request.json.len() + REQUEST_OVERHEAD_BYTES
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        requests: &[PlaysWrite],
    ) -> Result<Vec<PlaysAcceptance>, RedisError> {
        let keys = &self.hot.keys;
        let mut call = ACCEPT.prepare_invoke();
        call.key(keys.plays()).key(keys.epoch()).key(keys.ledger());
        call.arg(new_epoch()).arg(self.depth_max);
        call.arg(millis(limits::WRITE_REPEATABLE_FOR)).arg(requests.len());
        for request in requests {
            self.add_request(&mut call, request);
        }
        let outcomes: Vec<Value> = call.invoke_async(connection).await?;
        outcomes.iter().zip(requests).map(|(outcome, write)| read_outcome(outcome, write)).collect()
    }
}

impl PlaysTrip {
    fn add_request(&self, call: &mut ScriptInvocation<'_>, write: &PlaysWrite) {
        let PlaysWrite { count, json, origin, limit, once } = write;
        let limited = if limit.is_some() { "l" } else { "" };
        let known = if once.is_some() { "k" } else { "" };
        call.arg(format!("{count}{limited}{known}")).arg(origin.as_str()).arg(&json[..]);
        if let Some(Limit { client, rate }) = limit {
            let key = self.hot.keys.rate(Stream::Plays.name(), rate.window.as_secs(), client);
            call.key(key).arg(rate.items).arg(millis(rate.window));
        }
        if let Some(once) = once {
            call.key(once.key(&self.hot.keys)).arg(once.fingerprint());
        }
    }
}

fn read_outcome(outcome: &Value, write: &PlaysWrite) -> Result<PlaysAcceptance, RedisError> {
    let read = match outcome {
        Value::Int(0) => Some(PlaysAcceptance::Accepted(None)),
        Value::Int(2) => Some(PlaysAcceptance::QueueFull),
        Value::Int(5) => Some(PlaysAcceptance::KeyReused),
        Value::Array(parts) => match parts.as_slice() {
            [Value::Int(0), rest @ ..] => read_allowance(rest, write.limit.as_ref())
                .map(|left| PlaysAcceptance::Accepted(Some(left))),
            [Value::Int(3), rest @ ..] => {
                read_allowance(rest, write.limit.as_ref()).map(PlaysAcceptance::LimitReached)
            }
            [Value::Int(4), ..] => Some(PlaysAcceptance::AcceptedBefore),
            _ => None,
        },
        _ => None,
    };
    read.ok_or_else(|| unexpected_answer("an unknown outcome"))
}
