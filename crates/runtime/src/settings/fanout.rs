//! `[fanout]`: how ws-fanout carries feeds to connections.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{
    count, duration,
    scalar::{Scalar, read},
    size,
};

/// The bounds of the live side.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fanout {
    /// Connections of one process.
    #[serde(deserialize_with = "count::positive")]
    pub connections_max: usize,
    /// Frames that may wait for one connection.
    #[serde(deserialize_with = "count::positive")]
    pub queue_frames_max: usize,
    /// Bytes that may wait for one connection.
    #[serde(deserialize_with = "size::positive")]
    pub queue_bytes_max: usize,
    /// What becomes of a connection that lets more wait.
    pub slow_consumer: SlowConsumer,
    /// How often a connection is pinged.
    #[serde(deserialize_with = "duration::positive")]
    pub ping_interval: Duration,
    /// How long a pong is waited for.
    #[serde(deserialize_with = "duration::positive")]
    pub pong_timeout: Duration,
    /// How long a drain takes to close all connections.
    #[serde(deserialize_with = "duration::any")]
    pub drain: Duration,
}

/// What becomes of a connection whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is closed with 4000.
    Close,
    /// The newest frames are dropped, and it is told how many.
    Drop,
}

impl<'de> Deserialize<'de> for SlowConsumer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "close or drop", |value| match value {
            Scalar::Text(text) if text == "close" => Some(Self::Close),
            Scalar::Text(text) if text == "drop" => Some(Self::Drop),
            _ => None,
        })
    }
}
