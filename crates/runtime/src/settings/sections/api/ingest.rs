//! `[ingest]`: how ingest-api accepts writes.

use serde::Deserialize;

use crate::settings::values::{count, size, switch};

/// Limits and switches of ingest-api.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    /// Whether `GET /message/write/` is enabled.
    #[serde(deserialize_with = "switch::on_off")]
    pub write_by_get: bool,
    /// Bytes per round trip to Redis; a single request may have more.
    #[serde(deserialize_with = "size::positive")]
    pub batch_bytes_max: usize,
    /// Requests that may wait for Redis, per queue.
    #[serde(deserialize_with = "count::queue_length")]
    pub waiting_max: usize,
    /// Bytes of the requests that may wait for Redis, per queue.
    #[serde(deserialize_with = "size::positive")]
    pub waiting_bytes_max: usize,
}
