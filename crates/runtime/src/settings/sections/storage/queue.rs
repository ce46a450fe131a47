//! `[queue]`: the streams in Redis and their consumer groups.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::{count, duration, size};

/// Limits on the streams, and the retry policy for their entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Maximum number of messages, and separately of plays, that wait to be stored. Further writes
    /// are rejected as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub depth_max: u64,
    /// The maximum age of a position from which a subscriber can resume.
    #[serde(deserialize_with = "duration::positive")]
    pub resume_window: Duration,
    /// Maximum size of the acknowledged entries that a stream keeps for subscribers that resume, in
    /// bytes.
    #[serde(deserialize_with = "size::positive")]
    pub resume_bytes_max: u64,
    /// Number of attempts to store an entry individually before it becomes a dead letter.
    #[serde(deserialize_with = "count::positive")]
    pub attempts_max: u64,
    /// The time after which another worker claims a pending entry of an unresponsive worker.
    #[serde(deserialize_with = "duration::positive")]
    pub claim_after: Duration,
    /// Number of deliveries without an outcome before an entry is stored individually.
    #[serde(deserialize_with = "count::positive")]
    pub deliveries_max: u64,
}
