//! Storage of published counts.

use std::{sync::Arc, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::StoreError;
use mayfly_hot::HotStore;
use mayfly_runtime::{ItemLog, OutageLog};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The interval between two checks for published counts that are not saved.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of counts per save.
const BATCH_COUNTS: usize = 1_000;
/// The task, for the log.
const TASK: &str = "save published play counts";

/// Saves published counts to Postgres. After Redis lost its data, they show which counts
/// subscribers already have.
pub struct PublishedCountSaver {
    hot: HotStore,
    cold: ColdStore,
    published: Arc<Notify>,
    videos: ItemLog,
}

impl PublishedCountSaver {
    /// Creates a saver that saves when `published` is notified.
    pub fn new(hot: HotStore, cold: ColdStore, published: Arc<Notify>) -> Self {
        Self { hot, cold, published, videos: ItemLog::new(TASK) }
    }

    /// Runs until the process drains.
    ///
    /// All instances save concurrently. Redis stores which counts are not saved, so that another
    /// instance continues where one was killed.
    pub async fn run(self, draining: CancellationToken) {
        let published = || tokio::time::timeout(POLL_INTERVAL, self.published.notified());
        let outages = OutageLog::new(TASK);
        while draining.run_until_cancelled(published()).await.is_some() {
            outages.record(&self.save_all().await);
        }
    }

    /// Saves all published counts. If it is interrupted, a count is saved again without effect.
    async fn save_all(&self) -> anyhow::Result<()> {
        loop {
            let counts = self.hot.plays().find_unsaved_counts(BATCH_COUNTS).await?;
            if counts.is_empty() {
                return Ok(());
            }
            let saved = self.save(&counts).await?;
            self.hot.plays().mark_counts_saved(&saved).await?;
            // Counts that Postgres rejects stay unsaved, and are found again in the next round.
            if counts.len() < BATCH_COUNTS || saved.len() < counts.len() {
                return Ok(());
            }
        }
    }

    /// Saves counts and returns them without those that Postgres rejects.
    async fn save(&self, counts: &[(String, u64)]) -> Result<Vec<(String, u64)>, ColdError> {
        match self.cold.play_counts().save_published(counts).await {
            Err(error) if error.is_rejection() => {}
            result => return result.map(|()| counts.to_vec()),
        }
        let mut saved = Vec::new();
        for one in counts {
            let result = self.cold.play_counts().save_published(std::slice::from_ref(one)).await;
            let saved_one = self.videos.isolate(&one.0, result, ColdError::is_rejection)?;
            saved.extend(saved_one.map(|()| one.clone()));
        }
        Ok(saved)
    }
}
