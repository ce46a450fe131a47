//! Pruning of the records that deduplicate plays.

use mayfly_cold::ColdStore;
use mayfly_core::EntryId;
use mayfly_hot::{HotStore, Stream};

/// Deletes the records of acknowledged entries, and expired play IDs.
pub struct DedupPruner {
    hot: HotStore,
    cold: ColdStore,
    /// The entry up to which records are deleted.
    pruned_up_to: EntryId,
}

impl DedupPruner {
    /// Creates a pruner that has not pruned anything.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self { hot, cold, pruned_up_to: EntryId::START }
    }

    /// Deletes the records that are no longer needed, and if `prune_play_ids`, also play IDs.
    ///
    /// Postgres stores the entry up to which all entries are acknowledged, so that none of them
    /// counts again if Redis loses acknowledgments in a crash or a suspended worker resumes.
    pub async fn prune(&mut self, prune_play_ids: bool) -> anyhow::Result<()> {
        // Each is pruned even if the other cannot be.
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
