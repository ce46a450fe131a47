//! After Redis was started, or lost its data: shows the counts of Postgres again, and what was
//! published of them. One that was killed comes back without its last moments.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_hot::{Hot, Stream};
use tracing::info;

/// How often it is looked for that.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Counts of one page.
const PAGE_COUNTS: u32 = 1_000;

/// Shows all counts again where that was not done yet: goes on until all are shown, or the epoch or the
/// run of Redis is over. Cut off, all of it is done again: a count that is shown already stays. Any number
/// of workers may be at it.
pub async fn recount(hot: &Hot, cold: &Cold) -> anyhow::Result<()> {
    let epoch = hot.ledger(Stream::Plays).await?.epoch;
    let run = hot.find_run().await?;
    if hot.has_all_counts(&run).await? {
        return Ok(());
    }
    let (mut behind, mut shown) = (String::new(), 0);
    loop {
        let page = cold.list_published_counts(&behind, PAGE_COUNTS).await?;
        let is_last = page.len() < PAGE_COUNTS as usize;
        if let Some(last) = page.last() {
            behind.clone_from(&last.count.video_id);
        }
        shown += page.len();
        if !hot.restore_counts(&epoch, &run, &page, is_last).await? {
            return Ok(());
        }
        if is_last {
            if shown > 0 {
                info!(videos = shown, epoch, "showed counts again");
            }
            return Ok(());
        }
    }
}
