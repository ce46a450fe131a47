//! After Redis was started, or lost its data: shows the counts of Postgres again, and what was
//! published of them. One that was killed comes back without its last moments.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_hot::{Hot, Stream};
use mayfly_runtime::every;
use tracing::{debug, info};

const INTERVAL: Duration = Duration::from_secs(1);
/// Counts of one page.
const PAGE_COUNTS: u32 = 1_000;

/// Shows counts again. Any number of workers may be at it.
pub struct Recount {
    hot: Hot,
    cold: Cold,
}

impl Recount {
    /// Between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold }
    }

    /// Looks once a second whether there is something to do, until aborted.
    pub async fn run(self) {
        let mut ticks = every(INTERVAL);
        loop {
            ticks.tick().await;
            if let Err(error) = self.recount().await {
                debug!(%error, "cannot show counts again now");
            }
        }
    }

    /// Goes on until all counts are shown, or the epoch or the run of Redis is over. Cut off, all of it is done again: a
    /// count that is shown already stays.
    async fn recount(&self) -> anyhow::Result<()> {
        let epoch = self.hot.ledger(Stream::Plays).await?.epoch;
        let run = self.hot.find_run().await?;
        if self.hot.has_all_counts(&run).await? {
            return Ok(());
        }
        let (mut behind, mut shown) = (String::new(), 0);
        loop {
            let page = self.cold.list_published_counts(&behind, PAGE_COUNTS).await?;
            let is_last = page.len() < PAGE_COUNTS as usize;
            if let Some(last) = page.last() {
                behind.clone_from(&last.count.video_id);
            }
            shown += page.len();
            if !self.hot.restore_counts(&epoch, &run, &page, is_last).await? {
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
}
