//! Storage of published counts.

use std::{sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The interval between two checks for published counts that are not saved.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of counts per save.
const BATCH_COUNTS: usize = 1_000;

/// Saves published counts to Postgres. After Redis lost its data, they show which counts
/// subscribers already have.
pub struct PublishedCountSaver {
    hot: HotStore,
    cold: ColdStore,
    published: Arc<Notify>,
}

impl PublishedCountSaver {
    /// Creates a saver that saves when `published` is notified.
    pub fn new(hot: HotStore, cold: ColdStore, published: Arc<Notify>) -> Self {
        Self { hot, cold, published }
    }

    /// Runs until the process drains.
    ///
    /// All instances save concurrently. Redis stores which counts are not saved, so that another
    /// instance continues where one was killed.
    pub async fn run(self, draining: CancellationToken) {
        let published = || tokio::time::timeout(POLL_INTERVAL, self.published.notified());
        let mut is_failing = false;
        while draining.run_until_cancelled(published()).await.is_some() {
            let result = self.save_all().await;
            match &result {
                Err(error) if !is_failing => {
                    warn!(%error, "stats-publisher cannot save published play counts; retrying");
                }
                Ok(()) if is_failing => {
                    info!("stats-publisher saves published play counts again");
                }
                _ => {}
            }
            is_failing = result.is_err();
        }
    }

    /// Saves all published counts. If it is interrupted, a count is saved again without effect.
    async fn save_all(&self) -> anyhow::Result<()> {
        loop {
            let counts = self.hot.plays().find_unsaved_counts(BATCH_COUNTS).await?;
            if counts.is_empty() {
                return Ok(());
            }
            self.cold.play_counts().save_published(&counts).await?;
            self.hot.plays().mark_counts_saved(&counts).await?;
            if counts.len() < BATCH_COUNTS {
                return Ok(());
            }
        }
    }
}
