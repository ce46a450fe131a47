//! `[persist]`: how persist-worker stores.

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;

use super::{count, duration};

/// How entries are stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persist {
    /// The least time between two reads of a queue without backlog.
    #[serde(deserialize_with = "duration::any")]
    pub batch_interval: Duration,
    /// Batches stored at the same time.
    #[serde(deserialize_with = "count::positive")]
    pub writers: usize,
    /// Rows that one worker stores in a second; none is as many as it can.
    #[serde(deserialize_with = "count::positive_or_off")]
    pub rows_per_second_max: Option<NonZeroU32>,
    /// Rows of one transaction.
    #[serde(deserialize_with = "count::positive")]
    pub batch_rows_max: usize,
    /// How long a statement may take in Postgres.
    #[serde(deserialize_with = "duration::positive")]
    pub statement_timeout: Duration,
    /// How long a refused entry rests until it is tried again.
    #[serde(deserialize_with = "duration::positive")]
    pub retry_after: Duration,
}
