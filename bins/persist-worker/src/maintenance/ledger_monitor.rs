//! Detects data loss in Redis.

use std::{collections::HashMap, time::Duration};

use mayfly_cold::{ColdError, ColdStore, EpochReport, EpochState, LedgerRow};
use mayfly_core::StoreError;
use mayfly_hot::{HotError, HotStore, Stream, StreamLedger};
use mayfly_runtime::ItemLog;
use tokio::time::Instant;
use tracing::warn;

/// How long the monitor remembers a process that accepts items, counted from the last time that the
/// monitor read the registration of the process. Redis keeps a registration for the same time, but
/// can lose the registration together with other data.
const WRITER_TTL: Duration = Duration::from_secs(5);
/// The name used if items were accepted but no process is known, for example because a process of
/// an earlier version, which does not register itself, accepted them.
const UNREGISTERED_WRITER: &str = "unregistered";

/// A monitor that copies the numbers of accepted items from Redis to Postgres, and begins a new
/// epoch if Redis has lost data.
pub struct LedgerMonitor {
    hot: HotStore,
    cold: ColdStore,
    /// The ledger of each stream at the last check.
    last_seen: HashMap<Stream, StreamLedger>,
    /// The processes that accept items, and the times when their registrations were last read.
    writers: HashMap<String, Instant>,
    reports: ItemLog,
    /// The streams whose losses cannot be recorded.
    streams: ItemLog,
}

impl LedgerMonitor {
    /// Creates a monitor that has not checked any stream.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self {
            hot,
            cold,
            last_seen: HashMap::new(),
            writers: HashMap::new(),
            reports: ItemLog::new("store reports about ended epochs"),
            streams: ItemLog::new("record lost entries at the end of an epoch"),
        }
    }

    /// Checks all streams, even if one fails, and returns the first error.
    pub async fn check_all(&mut self) -> anyhow::Result<()> {
        // The processes are read before the epoch. Otherwise, a process that starts in a later
        // epoch could be recorded for an earlier epoch, about which it cannot report.
        let mut result = self.read_writers().await;
        for stream in Stream::ALL {
            result = result.and(self.check(stream).await);
        }
        result
    }

    /// Reads the processes that accept items, and moves their reports about ended epochs from Redis
    /// to Postgres.
    async fn read_writers(&mut self) -> anyhow::Result<()> {
        let writers = self.hot.ledger().list_writers().await?;
        let now = Instant::now();
        self.writers.retain(|_, seen_at| now.duration_since(*seen_at) < WRITER_TTL);
        self.writers.extend(writers.active.into_iter().map(|writer| (writer, now)));
        for report in writers.reports {
            let stored = EpochReport {
                epoch: &report.epoch,
                writer: &report.writer,
                accepted: report.accepted,
                unresolved: report.unresolved,
            };
            let result = self.cold.ledger().report(report.stream.name(), stored).await;
            // Postgres would reject the same report again, so a rejected report is also removed.
            self.reports.isolate(&report.writer, result, ColdError::is_rejection)?;
            self.hot.ledger().remove_report(&report).await?;
        }
        Ok(())
    }

    /// Records the state of a stream in Postgres, or begins a new epoch if Redis has lost data.
    ///
    /// Reads the count in Postgres before the count in Redis, because Postgres counts only items
    /// that Redis has already accepted. If Redis then counts fewer items than Postgres, Redis was
    /// restored without its latest writes. Redis has also lost data if the entry that was the
    /// newest at the last check is lost. The counts alone do not show this loss if Redis has since
    /// accepted at least as many items as it lost.
    async fn check(&mut self, stream: Stream) -> anyhow::Result<()> {
        let before = self.hot.ledger().find_or_begin(stream).await?;
        let known = self.cold.ledger().find(&before.epoch, stream.name()).await?;
        let current = self.hot.ledger().find_or_begin(stream).await?;
        let known = known.filter(|known| known.epoch == current.epoch);
        let is_behind = known.as_ref().is_some_and(|known| {
            current.accepted < known.accepted.max(known.stored + known.dead_lettered)
        });
        if self.record_lost_entry(stream, &current, known.as_ref()).await? || is_behind {
            // The epoch ends for the other streams too, so their losses are recorded as well. If
            // Redis rejects a command for another stream, the epoch ends anyway.
            for other in Stream::ALL.into_iter().filter(|other| *other != stream) {
                let current = self.hot.ledger().find_or_begin(other).await?;
                let recorded = self.record_lost_entry(other, &current, None).await;
                self.streams.isolate(other.name(), recorded, is_redis_rejection)?;
            }
            let epoch = self.hot.ledger().begin_epoch(&current.epoch).await?;
            warn!(
                epoch.previous = current.epoch,
                epoch.current = epoch,
                "Redis lost data; began a new epoch, so clients cannot resume from old positions"
            );
            return Ok(());
        }
        self.observe(stream, &current, known.as_ref()).await?;
        self.last_seen.insert(stream, current);
        Ok(())
    }

    async fn observe(
        &mut self,
        stream: Stream,
        current: &StreamLedger,
        known: Option<&LedgerRow>,
    ) -> anyhow::Result<()> {
        let has_accepted = current.accepted > known.map_or(0, |known| known.accepted);
        if self.writers.is_empty() && has_accepted {
            self.writers.insert(UNREGISTERED_WRITER.to_owned(), Instant::now());
        }
        let mut writers: Vec<&str> = self.writers.keys().map(String::as_str).collect();
        writers.sort_unstable();
        let state = EpochState {
            epoch: &current.epoch,
            accepted: current.accepted,
            newest: current.newest.as_deref(),
            writers: &writers,
        };
        self.cold.ledger().observe(stream.name(), state).await?;
        Ok(())
    }

    /// If the entry that was the newest at the last check is lost, records the loss and returns
    /// `true`. All entries after the lost entry were accepted after the last check, in addition to
    /// the items that the check counted. If this process has not checked the stream in this epoch,
    /// uses the last check by another process, which Postgres stores (`known`).
    async fn record_lost_entry(
        &self,
        stream: Stream,
        current: &StreamLedger,
        known: Option<&LedgerRow>,
    ) -> anyhow::Result<bool> {
        let last_seen = self.last_seen.get(&stream).filter(|seen| seen.epoch == current.epoch);
        let last_seen = last_seen.map(|seen| (seen.accepted, seen.newest.as_deref()));
        let stored = known.map(|known| (known.accepted, known.newest.as_deref()));
        let Some((accepted, Some(newest))) = last_seen.or(stored) else { return Ok(false) };
        if !self.hot.ledger().is_entry_lost(stream, newest).await? {
            return Ok(false);
        }
        let resumed = self.hot.ledger().count_after(stream, &current.epoch, newest).await?;
        let ledger = self.cold.ledger();
        ledger.record_loss(&current.epoch, stream.name(), accepted, resumed).await?;
        Ok(true)
    }
}

fn is_redis_rejection(error: &anyhow::Error) -> bool {
    error.downcast_ref::<HotError>().is_some_and(HotError::is_rejection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_stores::TestStores;

    #[tokio::test(flavor = "multi_thread")]
    async fn epoch_ends_although_the_key_of_another_stream_has_the_wrong_type() {
        let stores = TestStores::create("ledger_monitor").await;
        let TestStores { hot, cold, .. } = &stores;
        let mut monitor = LedgerMonitor::new(hot.clone(), cold.clone());
        let before = hot.ledger().find_or_begin(Stream::Messages).await.expect("Redis responds");
        // Redis has lost the message entry 2-0, and another program has overwritten the plays.
        let [messages, plays] = Stream::ALL.map(|stream| hot.keys().stream(stream));
        stores.query::<()>(&["XADD", &messages, "1-0", "kind", "body"]).await;
        stores.query::<()>(&["RPUSH", &plays, "x"]).await;
        for (stream, newest) in [(Stream::Messages, "2-0"), (Stream::Plays, "1-0")] {
            let seen = StreamLedger { newest: Some(newest.to_owned()), ..before.clone() };
            monitor.last_seen.insert(stream, seen);
        }
        monitor.check_all().await.expect("the plays are skipped");
        let after = hot.ledger().find_or_begin(Stream::Messages).await.expect("Redis responds");
        assert_ne!(after.epoch, before.epoch);
    }
}
