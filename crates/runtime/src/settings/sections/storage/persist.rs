//! `[persist]`: how persist-worker writes to Postgres.

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;

use crate::settings::values::{count, duration};

/// Batch sizes, concurrency and retries of persist-worker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistSettings {
    /// Minimum time between two reads of a queue without backlog.
    #[serde(deserialize_with = "duration::any")]
    pub batch_interval: Duration,
    /// Batches that one process writes concurrently.
    #[serde(deserialize_with = "count::tasks")]
    pub writers: usize,
    /// Rows per second and worker; `None` means unlimited.
    #[serde(deserialize_with = "count::positive_or_off")]
    pub rows_per_second_max: Option<NonZeroU32>,
    /// Rows per transaction.
    #[serde(deserialize_with = "count::positive")]
    pub batch_rows_max: usize,
    /// Time limit of one SQL statement.
    #[serde(deserialize_with = "duration::positive")]
    pub statement_timeout: Duration,
    /// Delay before a rejected entry is retried.
    #[serde(deserialize_with = "duration::positive")]
    pub retry_after: Duration,
}
