//! Reads the ledger from Redis and Postgres. A new epoch begins after Redis has lost data.

use anyhow::{Context as _, Result};
use mayfly_cold::{ColdError, ColdStore, LedgerRow, Loss};
use mayfly_core::MessageId;
use mayfly_hot::{HotStore, PendingEntry, Stream};

/// The balance of one stream in the current epoch. Redis and Postgres are read one after the other,
/// so the numbers may not add up while items arrive.
pub(super) struct Balance {
    pub(super) stream: Stream,
    pub(super) epoch: String,
    /// The number of items that were accepted before the other numbers were read.
    pub(super) accepted: u64,
    /// The number of items that were accepted while the other numbers were read. The other numbers
    /// may include these items.
    pub(super) arrived: u64,
    /// The number of items that were stored or dead-lettered while the queue was read. `queued` may
    /// also include these items.
    pub(super) moved: u64,
    pub(super) stored: u64,
    pub(super) queued: u64,
    pub(super) dead_lettered: u64,
    /// The number of items from earlier epochs that are still queued. Until these items are
    /// processed, the number of lost items is not exact.
    pub(super) queued_of_earlier_epochs: u64,
}

impl Balance {
    pub(super) fn accounted(&self) -> u64 {
        self.stored + self.queued + self.dead_lettered
    }

    /// Returns whether the numbers match exactly.
    pub(super) fn is_exact(&self) -> bool {
        self.accepted == self.accounted()
    }

    /// Returns whether the numbers match, apart from items that arrived or were stored while the
    /// numbers were read.
    pub(super) fn is_balanced(&self) -> bool {
        self.accounted() >= self.accepted
            && self.accounted().saturating_sub(self.moved) <= self.accepted + self.arrived
    }

    pub(super) fn is_final(&self) -> bool {
        self.is_exact() && self.queued_of_earlier_epochs == 0
    }
}

/// The balances of the current epoch, which are missing if no epoch has begun, and the rows of
/// earlier epochs.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) balances: Vec<Balance>,
    pub(super) earlier_epochs: Vec<LedgerRow>,
}

impl Ledger {
    /// Returns whether Redis has no current epoch although Postgres has rows. In a new installation
    /// without an epoch, Postgres has no rows, because workers record only epochs that have begun.
    pub(super) fn is_missing(&self) -> bool {
        self.balances.is_empty() && !self.earlier_epochs.is_empty()
    }

    /// Returns whether the result of the audit is final: Redis has an epoch, all numbers match, no
    /// items of earlier epochs are queued, and no reports about recently ended epochs are missing.
    pub(super) fn is_final(&self) -> bool {
        let has_missing_reports = |row: &LedgerRow| row.is_recent() && !row.is_reported;
        !self.is_missing()
            && self.balances.iter().all(Balance::is_final)
            && !self.earlier_epochs.iter().any(has_missing_reports)
    }

    /// Returns bounds on the number of items lost in an earlier epoch, assuming that the queue held
    /// at most `queue_max` items.
    pub(super) fn loss(&self, row: &LedgerRow, queue_max: u64) -> Loss {
        let of_kind = self.balances.iter().filter(|balance| balance.stream.name() == row.kind);
        let queued = of_kind.map(|balance| balance.queued_of_earlier_epochs).sum();
        row.loss(queue_max).minus_queued(queued)
    }

    /// Reads all streams.
    pub(super) async fn read(hot: &HotStore, cold: &ColdStore) -> Result<Self> {
        let mut ledger = Self::default();
        for stream in Stream::ALL {
            ledger.read_stream(stream, hot, cold).await?;
        }
        Ok(ledger)
    }

    /// Reads one stream and adds its numbers to this ledger.
    ///
    /// Reads the queue in Redis before the stored items in Postgres, so that an item that is
    /// processed in between is not missed. Reads the numbers of accepted and stored items at the
    /// start and at the end, because they change while the system is busy.
    pub(super) async fn read_stream(
        &mut self,
        stream: Stream,
        hot: &HotStore,
        cold: &ColdStore,
    ) -> Result<()> {
        let accepted =
            hot.ledger().find(stream).await.context("cannot read the ledger in Redis")?;
        let epoch = accepted.as_ref().map_or("", |ledger| ledger.epoch.as_str());
        let before = find_processed(stream, epoch, cold).await?;
        let queue = hot
            .ledger()
            .count_queue(stream, epoch)
            .await
            .context("cannot read the queue in Redis")?;
        let pending: u64 = queue.pending.iter().map(|pending| pending.items).sum();
        let processed = count_processed(stream, cold, &queue.pending).await;
        let processed = processed.context("cannot read the stored items in Postgres")?;
        let rows = list_rows(stream, cold).await?;
        let accepted_since = hot.ledger().find(stream).await;
        let accepted_since = accepted_since.context("cannot read the ledger in Redis")?;
        let (current, earlier): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.epoch == epoch);
        let current = current.into_iter().next();
        self.earlier_epochs.extend(earlier);
        self.balances.extend(accepted.map(|ledger| {
            Balance {
                stream,
                accepted: ledger.accepted,
                arrived: accepted_since
                    .filter(|since| since.epoch == ledger.epoch)
                    .map_or(0, |since| since.accepted.saturating_sub(ledger.accepted)),
                moved: current.as_ref().map_or(0, count_items).saturating_sub(before),
                stored: current.as_ref().map_or(0, |row| row.stored),
                queued: (queue.undelivered + pending).saturating_sub(processed),
                dead_lettered: current.as_ref().map_or(0, |row| row.dead_lettered),
                queued_of_earlier_epochs: queue.earlier,
                epoch: ledger.epoch,
            }
        }));
        Ok(())
    }
}

/// Returns the number of items from an epoch that have been stored or dead-lettered.
async fn find_processed(stream: Stream, epoch: &str, cold: &ColdStore) -> Result<u64> {
    let rows = list_rows(stream, cold).await?;
    Ok(rows.iter().filter(|row| row.epoch == epoch).map(count_items).sum())
}

fn count_items(row: &LedgerRow) -> u64 {
    row.stored + row.dead_lettered
}

async fn list_rows(stream: Stream, cold: &ColdStore) -> Result<Vec<LedgerRow>> {
    cold.ledger().list(stream.name()).await.context("cannot read the ledger in Postgres")
}

/// Counts the items that have already been stored or dead-lettered, although their entries are
/// still pending.
async fn count_processed(
    stream: Stream,
    cold: &ColdStore,
    pending: &[PendingEntry],
) -> Result<u64, ColdError> {
    match stream {
        Stream::Messages => {
            let ids: Vec<_> = pending.iter().map(|pending| MessageId::from(pending.id)).collect();
            cold.messages().count_processed(&ids).await
        }
        Stream::Plays => {
            let ids: Vec<_> = pending.iter().map(|pending| pending.id).collect();
            let processed = cold.plays().find_processed(&ids).await?;
            let processed = pending.iter().filter(|pending| processed.contains(&pending.id));
            Ok(processed.map(|pending| pending.items).sum())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ledger_is_missing_only_if_postgres_has_rows() {
        let new = Ledger::default();
        assert!(!new.is_missing() && new.is_final());
        let ended_for = Some(Duration::from_secs(3_600));
        let row = LedgerRow { is_reported: true, ended_for, ..LedgerRow::default() };
        let lost = Ledger { earlier_epochs: vec![row], ..Ledger::default() };
        assert!(lost.is_missing() && !lost.is_final(), "a worker may begin an epoch soon");
    }
}
