//! The play counts in Postgres.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mayfly_cold::ColdStore;

use super::report::Counts;
use crate::progress::Progress;

/// The minimum interval between two polls. The interval limits the precision of the measured time.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// The minimum interval between two polls as a multiple of the query duration, so that polling adds
/// little load.
const POLL_INTERVAL_FACTOR: u32 = 10;
/// The time without progress after which the simulation fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `plays` plays have been counted. Fails if there is no progress for
/// [`STALL_TIMEOUT`]. Tolerates a temporary failure of Postgres.
pub(super) async fn wait_until_counted(
    cold: &ColdStore,
    videos: &[String],
    plays: u64,
    progress: &mut Progress,
) -> Result<()> {
    let (mut counted, mut progressed_at) = (0, Instant::now());
    loop {
        let started = Instant::now();
        let counts = find_counts(cold, videos).await;
        let now_counted = counts.as_ref().map_or(counted, |counts| counts.values().sum());
        if now_counted > counted {
            progress.add(now_counted - counted);
            (counted, progressed_at) = (now_counted, Instant::now());
        }
        if counted >= plays {
            return Ok(());
        }
        if progressed_at.elapsed() > STALL_TIMEOUT {
            counts?;
            bail!("counted {counted} of {plays} plays; no progress for {STALL_TIMEOUT:?}");
        }
        let interval = POLL_INTERVAL_MIN.max(started.elapsed() * POLL_INTERVAL_FACTOR);
        tokio::time::sleep(interval).await;
    }
}

/// Returns the counts for the videos that have plays.
pub(super) async fn find_counts(cold: &ColdStore, videos: &[String]) -> Result<Counts> {
    let counts = cold.play_counts().find_many(videos).await.context("cannot read Postgres")?;
    Ok(counts.into_iter().map(|row| (row.video_id, row.count)).collect())
}
