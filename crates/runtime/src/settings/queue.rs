//! `[queue]`: work that must be done once.

use std::time::Duration;

use serde::Deserialize;

use super::{count, duration, size};

/// The bounds of the queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Entries that may wait; beyond it writes are refused as overloaded.
    #[serde(deserialize_with = "count::positive")]
    pub depth_max: u64,
    /// How far back a subscriber may resume.
    #[serde(deserialize_with = "duration::positive")]
    pub resume_window: Duration,
    /// Bytes of the stream kept for subscribers who resume.
    #[serde(deserialize_with = "size::positive")]
    pub resume_bytes_max: u64,
    /// How often an entry is tried alone until it is a dead letter.
    #[serde(deserialize_with = "count::positive")]
    pub attempts_max: u64,
    /// How long an entry lies with a silent worker until another takes it over.
    #[serde(deserialize_with = "duration::positive")]
    pub claim_after: Duration,
    /// How often an entry is delivered without an outcome until it is tried alone.
    #[serde(deserialize_with = "count::positive")]
    pub deliveries_max: u64,
}
