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
    /// Maximum size of a batch of requests to Redis, in bytes. A single request may be larger.
    #[serde(deserialize_with = "size::positive")]
    pub batch_bytes_max: usize,
    /// Maximum number of requests in each queue for Redis. Each server thread has several queues.
    #[serde(deserialize_with = "count::queue_length")]
    pub waiting_max: usize,
    /// Maximum total size of the requests in each queue for Redis, in bytes.
    #[serde(deserialize_with = "size::positive")]
    pub waiting_bytes_max: usize,
}
