//! Deletes expired samples and the expired hourly totals derived from samples.

use std::time::Duration;

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::limits;
use mayfly_runtime::run_periodically;

const INTERVAL: Duration = Duration::from_secs(60);
/// The maximum number of rows that one statement deletes.
const CHUNK_ROWS: u32 = 1_000;

/// Deletes expired rows periodically until aborted. Any number of processes can do this
/// concurrently.
pub fn run(cold: ColdStore) -> impl Future<Output = ()> {
    run_periodically(INTERVAL, "sample retention", async move || delete_expired(&cold).await)
}

async fn delete_expired(cold: &ColdStore) -> Result<(), ColdError> {
    let (samples, hours) = (limits::SAMPLE_RETENTION, limits::HOURLY_RETENTION);
    cold.samples().delete_old(samples, hours, CHUNK_ROWS).await.map(drop)
}
