//! `[persist]`: how persist-worker writes to Postgres.

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;

use crate::settings::values::{count, duration};

/// Batch sizes, concurrency, time limits and retries for persist-worker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistSettings {
    /// The time that a writer waits for more entries after a batch that was not full.
    #[serde(deserialize_with = "duration::any")]
    pub batch_interval: Duration,
    /// Maximum number of batches that one process writes concurrently.
    #[serde(deserialize_with = "count::tasks")]
    pub writers: usize,
    /// Maximum number of rows that one worker stores per second; `None` means unlimited.
    #[serde(deserialize_with = "count::positive_or_off")]
    pub rows_per_second_max: Option<NonZeroU32>,
    /// Maximum number of rows per transaction.
    #[serde(deserialize_with = "count::positive")]
    pub batch_rows_max: usize,
    /// Time limit of one SQL statement.
    #[serde(deserialize_with = "duration::positive")]
    pub statement_timeout: Duration,
    /// Delay before a rejected entry is retried.
    #[serde(deserialize_with = "duration::positive")]
    pub retry_after: Duration,
}
