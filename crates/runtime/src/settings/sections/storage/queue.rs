//! `[queue]`: the streams in Redis and their consumer groups.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::{count, duration, size};

/// Limits of the streams, and the retry policy of their entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Messages, and plays, that may wait to be stored; further writes are rejected as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub depth_max: u64,
    /// How far back a subscriber can resume.
    #[serde(deserialize_with = "duration::positive")]
    pub resume_window: Duration,
    /// Bytes of a stream that are kept for subscribers that resume.
    #[serde(deserialize_with = "size::positive")]
    pub resume_bytes_max: u64,
    /// Attempts to store an entry individually before it becomes a dead letter.
    #[serde(deserialize_with = "count::positive")]
    pub attempts_max: u64,
    /// How long an entry of an unresponsive worker stays pending before another worker claims it.
    #[serde(deserialize_with = "duration::positive")]
    pub claim_after: Duration,
    /// Deliveries of an entry without an outcome before it is stored individually.
    #[serde(deserialize_with = "count::positive")]
    pub deliveries_max: u64,
}
