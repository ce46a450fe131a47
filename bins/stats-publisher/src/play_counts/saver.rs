//! Saves published counts to Postgres.

use std::{sync::Arc, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::StoreError;
use mayfly_hot::HotStore;
use mayfly_runtime::{ItemLog, OutageLog};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The maximum pause between two checks for unsaved counts.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of counts per save.
const BATCH_COUNTS: usize = 1_000;
/// The name of the task in the log.
const TASK: &str = "save published play counts";

/// The task that saves published counts to Postgres. After Redis loses its data, the saved counts
/// show which counts subscribers have already received.
pub struct PublishedCountSaver {
    hot: HotStore,
    cold: ColdStore,
    published: Arc<Notify>,
    videos: ItemLog,
}

impl PublishedCountSaver {
    /// Creates a saver that checks for unsaved counts periodically and whenever `published` is
    /// notified.
    pub fn new(hot: HotStore, cold: ColdStore, published: Arc<Notify>) -> Self {
        Self { hot, cold, published, videos: ItemLog::new(TASK) }
    }

    /// Runs until the process drains.
    ///
    /// All instances save concurrently. Redis stores which counts have not been saved yet, so that
    /// another instance can continue the work of a killed instance.
    pub async fn run(self, draining: CancellationToken) {
        let published = || tokio::time::timeout(POLL_INTERVAL, self.published.notified());
        let outages = OutageLog::new(TASK);
        while draining.run_until_cancelled(published()).await.is_some() {
            outages.record(&self.save_all().await);
        }
    }

    /// Saves all published counts that have not been saved yet. After an interruption, saving a
    /// count again has no effect.
    async fn save_all(&self) -> anyhow::Result<()> {
        loop {
            let counts = self.hot.plays().find_unsaved_counts(BATCH_COUNTS).await?;
            if counts.is_empty() {
                return Ok(());
            }
            let saved = self.save(&counts).await?;
            self.hot.plays().mark_counts_saved(&saved).await?;
            // Counts that Postgres rejects stay unsaved. End this round, because the next query
            // would find them again.
            if counts.len() < BATCH_COUNTS || saved.len() < counts.len() {
                return Ok(());
            }
        }
    }

    /// Saves counts and returns the saved counts. Omits counts that Postgres rejects.
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
