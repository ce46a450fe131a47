//! Restores play counts after Redis has restarted or lost its data. After a crash, Redis may
//! restart without its latest writes.

use std::time::Duration;

use mayfly_cold::ColdStore;
use mayfly_hot::{HotStore, Stream};
use tracing::info;

/// The interval between two checks.
pub const INTERVAL: Duration = Duration::from_secs(1);
const PAGE_COUNTS: u32 = 1_000;

/// Copies all counts and their published values from Postgres to Redis, unless they have been
/// copied since Redis started.
///
/// Stops early if Redis restarts, or if a new epoch begins after Redis has lost data. The next call
/// then starts over. Never decreases a count in Redis.
pub async fn restore(hot: HotStore, cold: ColdStore) -> anyhow::Result<()> {
    let epoch = hot.ledger().find_or_begin(Stream::Plays).await?.epoch;
    let run = hot.plays().find_run_id().await?;
    if hot.plays().has_all_counts(&run).await? {
        return Ok(());
    }
    let (mut after, mut restored) = (String::new(), 0);
    loop {
        let page = cold.play_counts().list_published(&after, PAGE_COUNTS).await?;
        let is_last = page.len() < PAGE_COUNTS as usize;
        if let Some(last) = page.last() {
            after.clone_from(&last.count.video_id);
        }
        restored += page.len();
        if !hot.plays().restore_counts(&epoch, &run, &page, is_last).await? {
            return Ok(());
        }
        if is_last {
            if restored > 0 {
                info!(videos = restored, epoch, "restored play counts from Postgres");
            }
            return Ok(());
        }
    }
}
