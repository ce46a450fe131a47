//! What becomes of a request that writes, as the scripts behind `client.lua` give it.

use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value};

use crate::{
    client::{Allowance, Limit},
    error::unexpected_answer,
};

/// What became of a request: all that was in it was taken, or nothing. `B` is what is known of one that was accepted
/// before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance<B = ()> {
    /// It was taken; with what is left, if there is a limit.
    Accepted(Option<Allowance>),
    /// It was accepted before.
    AcceptedBefore(B),
    /// It was accepted before; what is kept of it is of no form that is known here.
    Unreadable,
    /// Another request was accepted under its key.
    KeyReused,
    /// It is more than is left of the limit.
    LimitReached(Allowance),
    /// There is no room for it.
    Full(Full),
}

/// What has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The inbox of a username: it holds as many live messages as it may.
    Inbox,
    /// The queue: too much waits in it.
    Queue,
    /// The pages of a host: as many have visitors as may.
    Pages,
    /// The hosts: as many have visitors as may.
    Hosts,
}

impl<B> Acceptance<B> {
    /// Reads what a script gives of a request. What was kept of one before outlives a version: what `read_kept` cannot
    /// read is no fault of the others.
    pub(crate) fn read(
        outcome: &Value,
        limit: Option<&Limit>,
        read_kept: impl FnOnce(&[u8]) -> Option<B>,
    ) -> Result<Self, RedisError> {
        let read = match outcome {
            Value::Int(0) => Some(Self::Accepted(None)),
            Value::Int(1) => Some(Self::Full(Full::Inbox)),
            Value::Int(2) => Some(Self::Full(Full::Queue)),
            Value::Int(5) => Some(Self::KeyReused),
            Value::Int(6) => Some(Self::Full(Full::Pages)),
            Value::Int(7) => Some(Self::Full(Full::Hosts)),
            Value::Array(parts) => match parts.as_slice() {
                [Value::Int(0), rest @ ..] => {
                    read_allowance(rest, limit).map(|left| Self::Accepted(Some(left)))
                }
                [Value::Int(3), rest @ ..] => read_allowance(rest, limit).map(Self::LimitReached),
                [Value::Int(4), Value::BulkString(kept)] => {
                    Some(read_kept(kept).map_or(Self::Unreadable, Self::AcceptedBefore))
                }
                _ => None,
            },
            _ => None,
        };
        read.ok_or_else(|| unexpected_answer("an unknown outcome"))
    }
}

fn read_allowance(parts: &[Value], limit: Option<&Limit>) -> Option<Allowance> {
    match (parts, limit) {
        ([Value::Int(remaining), Value::Int(ms)], Some(limit)) => Some(Allowance {
            rate: limit.rate,
            remaining: u32::try_from(*remaining).ok()?,
            resets_in: Duration::from_millis(u64::try_from(*ms).ok()?),
        }),
        _ => None,
    }
}
