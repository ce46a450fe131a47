//! Detection of data loss in Redis.

use std::collections::HashMap;

use mayfly_cold::ColdStore;
use mayfly_hot::{HotStore, Stream, StreamLedger};
use tracing::warn;

/// Records the number of accepted items in Postgres and begins a new epoch when Redis has lost
/// some.
pub struct LedgerMonitor {
    hot: HotStore,
    cold: ColdStore,
    /// The ledger of each stream at the last check.
    last_seen: HashMap<Stream, StreamLedger>,
}

impl LedgerMonitor {
    /// Creates a monitor that has not checked any stream.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self { hot, cold, last_seen: HashMap::new() }
    }

    /// Checks a stream.
    ///
    /// Postgres is read first: all items that it counts were accepted before Redis is read. If
    /// Redis counts fewer, it was restored without its latest writes, and a new epoch begins. The
    /// same applies if the newest entry of the last check is lost: as many items may have been
    /// accepted since.
    pub async fn check(&mut self, stream: Stream) -> anyhow::Result<()> {
        let before = self.hot.ledger().find_or_begin(stream).await?;
        let known = self.cold.ledger().find(&before.epoch, stream.name()).await?;
        let current = self.hot.ledger().find_or_begin(stream).await?;
        let is_behind = known.is_some_and(|known| {
            current.epoch == known.epoch
                && current.accepted < known.accepted.max(known.stored + known.dead_lettered)
        });
        if self.record_lost_entry(stream, &current).await? || is_behind {
            // The losses of the other streams also belong to the epoch that ends.
            for other in Stream::ALL.into_iter().filter(|other| *other != stream) {
                let current = self.hot.ledger().find_or_begin(other).await?;
                self.record_lost_entry(other, &current).await?;
            }
            let epoch = self.hot.ledger().begin_epoch(&current.epoch).await?;
            warn!(
                epoch.previous = current.epoch,
                epoch.current = epoch,
                "Redis lost data: a new epoch begins, and clients cannot resume old positions"
            );
            return Ok(());
        }
        self.cold.ledger().observe(&current.epoch, stream.name(), current.accepted).await?;
        self.last_seen.insert(stream, current);
        Ok(())
    }

    /// Returns whether the newest entry of the last check is lost. In that case, all entries behind
    /// it were accepted since, in addition to the items counted at the last check.
    async fn record_lost_entry(
        &self,
        stream: Stream,
        current: &StreamLedger,
    ) -> anyhow::Result<bool> {
        let last_seen = self.last_seen.get(&stream).filter(|seen| seen.epoch == current.epoch);
        let Some(last_seen) = last_seen else { return Ok(false) };
        let Some(newest) = &last_seen.newest else { return Ok(false) };
        if !self.hot.ledger().is_entry_lost(stream, newest).await? {
            return Ok(false);
        }
        let since = self.hot.ledger().count_after(stream, &last_seen.epoch, newest).await?;
        let accepted = last_seen.accepted + since;
        self.cold.ledger().observe(&last_seen.epoch, stream.name(), accepted).await?;
        Ok(true)
    }
}
