//! The outcomes of writes, as the scripts that accept items return them.

use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value};

use crate::{
    connection::unexpected_reply,
    write::{ClientLimit, RateLimitStatus},
};

/// The outcome of a write. A request is accepted as a whole or not at all. `R` describes a request
/// that was accepted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome<R = ()> {
    /// The request was accepted. Contains the status of the rate limit, if the client has a limit.
    Accepted(Option<RateLimitStatus>),
    /// The same request was accepted before.
    Replayed(R),
    /// The same request was accepted before, but its stored outcome has an unknown format.
    UnknownRecordFormat,
    /// A different request was accepted under the same idempotency key.
    KeyReused,
    /// The request would exceed the rate limit of the client.
    RateLimited(RateLimitStatus),
    /// The request would exceed a capacity limit.
    CapacityExceeded(Capacity),
    /// A Redis key that the request uses has a type or value that no version of Mayfly writes.
    /// Nothing was written.
    UnreadableKey {
        /// The name of the Redis key.
        key: String,
        /// The error that Redis or the script reported.
        error: String,
    },
}

/// A bounded resource of the hot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// The live messages in an inbox.
    Inbox,
    /// The unprocessed items in a queue.
    Queue,
    /// The visited pages on a host.
    PagesPerHost,
    /// The visited hosts.
    Hosts,
    /// The visited hosts that one client owns.
    HostsPerClient,
}

impl<R> WriteOutcome<R> {
    /// Parses the outcomes of a batch of requests with these rate limits. `parse_stored` parses a
    /// stored outcome, which another version may have written. If `parse_stored` returns `None`,
    /// the outcome of the request is [`Self::UnknownRecordFormat`].
    pub(crate) fn parse_batch<'a>(
        outcomes: &[Value],
        limits: impl Iterator<Item = Option<&'a ClientLimit>>,
        parse_stored: impl Fn(&[u8]) -> Option<R>,
    ) -> Result<Vec<Self>, RedisError> {
        let outcomes = outcomes.iter().zip(limits);
        outcomes.map(|(outcome, limit)| Self::parse(outcome, limit, &parse_stored)).collect()
    }

    fn parse(
        reply: &Value,
        limit: Option<&ClientLimit>,
        parse_stored: impl FnOnce(&[u8]) -> Option<R>,
    ) -> Result<Self, RedisError> {
        let outcome = match reply {
            Value::Int(0) => Some(Self::Accepted(None)),
            Value::Int(1) => Some(Self::CapacityExceeded(Capacity::Inbox)),
            Value::Int(2) => Some(Self::CapacityExceeded(Capacity::Queue)),
            Value::Int(5) => Some(Self::KeyReused),
            Value::Int(6) => Some(Self::CapacityExceeded(Capacity::PagesPerHost)),
            Value::Int(7) => Some(Self::CapacityExceeded(Capacity::Hosts)),
            Value::Int(8) => Some(Self::CapacityExceeded(Capacity::HostsPerClient)),
            Value::Array(parts) => match parts.as_slice() {
                [Value::Int(0), rest @ ..] => {
                    parse_status(rest, limit).map(|status| Self::Accepted(Some(status)))
                }
                [Value::Int(3), rest @ ..] => parse_status(rest, limit).map(Self::RateLimited),
                [Value::Int(4), Value::BulkString(stored)] => {
                    Some(parse_stored(stored).map_or(Self::UnknownRecordFormat, Self::Replayed))
                }
                [Value::Int(9), Value::BulkString(key), Value::BulkString(error)] => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    Some(Self::UnreadableKey { key: text(key), error: text(error) })
                }
                _ => None,
            },
            _ => None,
        };
        outcome.ok_or_else(|| unexpected_reply("unknown write outcome"))
    }
}

fn parse_status(parts: &[Value], limit: Option<&ClientLimit>) -> Option<RateLimitStatus> {
    match (parts, limit) {
        ([Value::Int(remaining), Value::Int(ms)], Some(limit)) => Some(RateLimitStatus {
            rate: limit.rate,
            remaining: u32::try_from(*remaining).ok()?,
            resets_in: Duration::from_millis(u64::try_from(*ms).ok()?),
        }),
        _ => None,
    }
}
