//! Deletes samples, and the hours that they were rolled up into, when their time is over.

use std::time::Duration;

use mayfly_cold::{Cold, ColdError};
use mayfly_core::{Clock, SystemClock, Timestamp, limits};
use mayfly_runtime::every;
use tracing::warn;

const INTERVAL: Duration = Duration::from_secs(60);
/// Rows of one statement.
const CHUNK_ROWS: u32 = 1_000;

/// Deletes what is due once a minute, until aborted. Any number of workers may be at it.
pub async fn retain(cold: Cold) {
    let mut ticks = every(INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = delete_due(&cold, SystemClock.now()).await {
            warn!(%error, "cannot delete old samples now");
        }
    }
}

async fn delete_due(cold: &Cold, now: Timestamp) -> Result<(), ColdError> {
    let samples_before = now.before(limits::SAMPLES_KEPT_FOR);
    let hours_before = now.before(limits::HOURS_KEPT_FOR);
    let mut deleted = u64::from(CHUNK_ROWS);
    while deleted == u64::from(CHUNK_ROWS) {
        deleted = cold.delete_old_samples(samples_before, hours_before, CHUNK_ROWS).await?;
    }
    Ok(())
}
