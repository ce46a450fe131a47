//! Detection of data loss in Redis.

use std::{collections::HashMap, time::Duration};

use mayfly_cold::{ColdError, ColdStore, EpochReport, EpochState, LedgerRow};
use mayfly_core::StoreError;
use mayfly_hot::{HotStore, Stream, StreamLedger};
use mayfly_runtime::ItemLog;
use tokio::time::Instant;
use tracing::warn;

/// How long a process that accepts items is remembered after its registration was last read. Redis
/// keeps registrations for the same time, but loses them together with its data.
const WRITER_TTL: Duration = Duration::from_secs(5);
/// The name used for processes of an earlier version, which do not register themselves.
const UNREGISTERED_WRITER: &str = "unregistered";

/// Records the number of accepted items in Postgres and begins a new epoch when Redis has lost
/// some.
pub struct LedgerMonitor {
    hot: HotStore,
    cold: ColdStore,
    /// The ledger of each stream at the last check.
    last_seen: HashMap<Stream, StreamLedger>,
    /// The processes that accept items, with the time when they were last registered.
    writers: HashMap<String, Instant>,
    reports: ItemLog,
}

impl LedgerMonitor {
    /// Creates a monitor that has not checked any stream.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        let reports = ItemLog::new("store reports about ended epochs");
        Self { hot, cold, last_seen: HashMap::new(), writers: HashMap::new(), reports }
    }

    /// Checks all streams, even if one fails, and returns the first error.
    pub async fn check_all(&mut self) -> anyhow::Result<()> {
        // Before the epoch: if it ends in between, the processes belong to the earlier one too.
        let mut result = self.read_writers().await;
        for stream in Stream::ALL {
            result = result.and(self.check(stream).await);
        }
        result
    }

    /// Reads the processes that accept items, and stores their reports about ended epochs.
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
            // A rejected report would be rejected again.
            self.reports.isolate(&report.writer, result, ColdError::is_rejection)?;
            self.hot.ledger().remove_report(&report).await?;
        }
        Ok(())
    }

    /// Checks a stream.
    ///
    /// Postgres is read first: all items that it counts were accepted before Redis is read. If
    /// Redis counts fewer, it was restored without its latest writes, and a new epoch begins. The
    /// same applies if the newest entry of the last check is lost: as many items may have been
    /// accepted since.
    async fn check(&mut self, stream: Stream) -> anyhow::Result<()> {
        let before = self.hot.ledger().find_or_begin(stream).await?;
        let known = self.cold.ledger().find(&before.epoch, stream.name()).await?;
        let current = self.hot.ledger().find_or_begin(stream).await?;
        let known = known.filter(|known| known.epoch == current.epoch);
        let is_behind = known.as_ref().is_some_and(|known| {
            current.accepted < known.accepted.max(known.stored + known.dead_lettered)
        });
        if self.record_lost_entry(stream, &current, known.as_ref()).await? || is_behind {
            // The losses of the other streams also belong to the epoch that ends.
            for other in Stream::ALL.into_iter().filter(|other| *other != stream) {
                let current = self.hot.ledger().find_or_begin(other).await?;
                self.record_lost_entry(other, &current, None).await?;
            }
            let epoch = self.hot.ledger().begin_epoch(&current.epoch).await?;
            warn!(
                epoch.previous = current.epoch,
                epoch.current = epoch,
                "Redis lost data: a new epoch begins, and clients cannot resume old positions"
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

    /// Returns whether the newest entry of the last check is lost. In that case, all entries behind
    /// it were accepted since, in addition to the items counted at the last check. If this process
    /// has not checked the epoch, the last check of any process applies, which Postgres stores
    /// (`known`).
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
