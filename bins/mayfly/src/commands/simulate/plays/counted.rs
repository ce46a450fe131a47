//! What Postgres has counted of the videos of a run.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mayfly_cold::Cold;

use super::report::Counts;
use crate::commands::simulate::progress::Progress;

/// The time of counting is true to this.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A pause is so many times as long as a look takes, so that looking is no load of its own.
const PAUSE_LOOKS: u32 = 10;
/// When nothing is counted for so long, nothing will be.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Waits until so many plays are counted; while Postgres cannot be asked, too.
pub(super) async fn wait_until_counted(
    cold: &Cold,
    videos: &[String],
    plays: u64,
    progress: &mut Progress,
) -> Result<()> {
    let (mut counted, mut rose_at) = (0, Instant::now());
    loop {
        let began = Instant::now();
        let looked = find_counted(cold, videos).await;
        let now = looked.as_ref().map_or(counted, |counts| counts.values().sum());
        if now > counted {
            progress.add(now - counted);
            (counted, rose_at) = (now, Instant::now());
        }
        if counted >= plays {
            return Ok(());
        }
        if rose_at.elapsed() > STALLED_AFTER {
            looked?;
            bail!("{counted} of {plays} plays are counted, and no more for {STALLED_AFTER:?}");
        }
        tokio::time::sleep(LOOK_EVERY.max(began.elapsed() * PAUSE_LOOKS)).await;
    }
}

/// The counts of those videos that have one.
pub(super) async fn find_counted(cold: &Cold, videos: &[String]) -> Result<Counts> {
    let counts = cold.find_play_counts(videos).await.context("Postgres cannot be asked")?;
    Ok(counts.into_iter().map(|one| (one.video_id, one.count)).collect())
}
