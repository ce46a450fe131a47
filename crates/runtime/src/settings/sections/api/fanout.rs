//! `[fanout]`: how ws-fanout delivers feeds to connections.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::settings::values::{
    Scalar, count, duration, parse_scalar,
    rate::{self, Rate},
    size,
};

/// Limits and timeouts for live connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FanoutSettings {
    /// Maximum number of connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub connections_max: usize,
    /// Maximum number of connections per client and process; `None` means no limit.
    #[serde(deserialize_with = "count::positive_or_off")]
    pub connections_per_client_max: Option<NonZeroU32>,
    /// The rate limit for frames that a client sends over one connection; `None` disables it.
    #[serde(deserialize_with = "rate::or_off")]
    pub client_frames: Option<Rate>,
    /// Maximum number of frames in the send queue of one connection.
    #[serde(deserialize_with = "count::positive")]
    pub queue_frames_max: usize,
    /// Maximum size of the send queue of one connection, in bytes.
    #[serde(deserialize_with = "size::positive")]
    pub queue_bytes_max: usize,
    /// Maximum memory that all connections of the process use in total for queued frames,
    /// subscribed names and incomplete client frames, in bytes.
    #[serde(deserialize_with = "size::positive")]
    pub queued_bytes_max: usize,
    /// Maximum total size of the replays that the process is reading or has queued, in bytes.
    #[serde(deserialize_with = "size::positive")]
    pub replay_bytes_max: usize,
    /// The policy for a connection with a full send queue.
    pub slow_consumer: SlowConsumer,
    /// The interval between pings.
    #[serde(deserialize_with = "duration::positive")]
    pub ping_interval: Duration,
    /// The time that the server waits for a pong.
    #[serde(deserialize_with = "duration::positive")]
    pub pong_timeout: Duration,
    /// The time over which a drain closes all connections.
    #[serde(deserialize_with = "duration::any")]
    pub drain: Duration,
}

/// The policy for a connection with a full send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// Closes the connection with code 4000.
    Close,
    /// Drops the newest frames and reports their number in a `gap` frame.
    Drop,
}

impl<'de> Deserialize<'de> for SlowConsumer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer, "close or drop", |value| match value {
            Scalar::Text(text) if text == "close" => Some(Self::Close),
            Scalar::Text(text) if text == "drop" => Some(Self::Drop),
            _ => None,
        })
    }
}
