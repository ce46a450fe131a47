//! The pulse: the current load and health of the whole system.

use bytes::Bytes;
use mayfly_core::StateFeed;
use mayfly_hot::HotStore;
use mayfly_http::Problem;

use crate::problems::no_pulse;

/// Queries for the pulse. Each HTTP thread has its own instance.
pub struct PulseQueries {
    hot: HotStore,
}

impl PulseQueries {
    /// Creates the queries.
    pub fn new(hot: HotStore) -> Self {
        Self { hot }
    }

    /// Returns the latest pulse as JSON. It is at most a few seconds old.
    pub async fn find_pulse(&self) -> Result<Bytes, Problem> {
        self.hot.snapshots().find_state(StateFeed::Pulse).await?.ok_or_else(no_pulse)
    }
}
