//! Prunes the records that deduplicate plays.

use mayfly_cold::ColdStore;
use mayfly_core::EntryId;
use mayfly_hot::{HotStore, Stream};

/// A pruner that deletes the records of acknowledged entries and the expired play IDs.
pub struct DedupPruner {
    hot: HotStore,
    cold: ColdStore,
    /// The entry ID up to which this process has deleted the records.
    pruned_up_to: EntryId,
}

impl DedupPruner {
    /// Creates a pruner that has not pruned anything.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self { hot, cold, pruned_up_to: EntryId::START }
    }

    /// Deletes the records of acknowledged entries and, if `prune_play_ids` is set, expired play
    /// IDs.
    ///
    /// Postgres stores the position up to which records were deleted, so an entry up to this
    /// position is not counted again if Redis loses the acknowledgment of the entry in a crash, or
    /// if a suspended worker resumes and processes the entry.
    pub async fn prune(&mut self, prune_play_ids: bool) -> anyhow::Result<()> {
        // The play IDs are pruned even if pruning the records fails.
        let pruned = self.prune_counted_entries().await;
        if prune_play_ids {
            self.cold.plays().prune_play_ids().await?;
        }
        pruned
    }

    async fn prune_counted_entries(&mut self) -> anyhow::Result<()> {
        let acknowledged = self.hot.queue().find_acked_up_to(Stream::Plays).await?;
        if let Some(up_to) = acknowledged.filter(|up_to| *up_to != self.pruned_up_to) {
            self.cold.plays().prune_counted_entries(up_to).await?;
            self.pruned_up_to = up_to;
        }
        Ok(())
    }
}
