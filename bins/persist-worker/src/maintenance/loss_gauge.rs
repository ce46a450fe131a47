//! Exports the number of lost items as a metric. An epoch ends when Redis loses data.

use std::time::Duration;

use mayfly_cold::{ColdStore, Loss};
use mayfly_hot::{HotStore, Stream};

use super::as_f64;
use crate::metrics as names;

/// How long a loss is exported after the end of its epoch.
const EXPORTED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A gauge for the number of items that Redis lost in epochs that ended within the last day.
pub struct LossGauge {
    hot: HotStore,
    cold: ColdStore,
    queue_max: u64,
}

impl LossGauge {
    /// Creates a gauge. The queue holds at most `queue_max` items.
    pub fn new(hot: HotStore, cold: ColdStore, queue_max: u64) -> Self {
        Self { hot, cold, queue_max }
    }

    /// Updates the gauge for a stream, unless items from ended epochs are still queued. Until
    /// these items are processed, the loss is unknown.
    pub async fn update(&self, stream: Stream) -> anyhow::Result<()> {
        let Some(current) = self.hot.ledger().find(stream).await? else { return Ok(()) };
        if self.hot.ledger().has_earlier_entries(stream, &current.epoch).await? {
            return Ok(());
        }
        let rows = self.cold.ledger().list(stream.name()).await?;
        // Reports about a recently ended epoch may still be missing.
        let ended = rows.iter().filter(|row| row.epoch != current.epoch && !row.is_recent());
        let exported = ended.filter(|row| row.ended_for.is_some_and(|one| one < EXPORTED_FOR));
        let lost = exported.map(|row| row.loss(self.queue_max)).fold(
            Loss { at_least: 0, at_most: 0 },
            |sum, one| Loss {
                at_least: sum.at_least + one.at_least,
                at_most: sum.at_most + one.at_most,
            },
        );
        for (bound, items) in [("at_least", lost.at_least), ("at_most", lost.at_most)] {
            let labels = [("kind", stream.name()), ("bound", bound)];
            metrics::gauge!(names::LOST_ITEMS, &labels).set(as_f64(items));
        }
        Ok(())
    }
}
