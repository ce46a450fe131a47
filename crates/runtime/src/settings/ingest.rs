//! `[ingest]`: how ingest-api takes writes.

use serde::Deserialize;

use super::{count, size, switch};

/// How writes are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Whether `GET /message/write/` writes.
    #[serde(deserialize_with = "switch::on_off")]
    pub write_by_get: bool,
    /// Bytes of one round trip to Redis.
    #[serde(deserialize_with = "size::positive")]
    pub batch_bytes_max: usize,
    /// Requests that may wait for Redis.
    #[serde(deserialize_with = "count::positive")]
    pub waiting_max: usize,
}
