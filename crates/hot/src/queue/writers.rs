//! The processes that accept items. Each registers itself in the ledger, and reports how many items
//! of an ended epoch it has seen, because Redis loses the number together with its data.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_redis::redis;
use tokio::time::Instant;

use crate::{
    connection::{HotError, script},
    queue::{Ledger, Stream},
    write::EndedEpoch,
};

script!(REPORT, include_str!("report_writer.lua"));

/// The beginning of the fields of the ledger that contain the time in ms at which a process
/// registered itself: `writer <process>`.
const WRITER: &str = "writer ";
/// The beginning of the fields with the reports: `report <epoch> <stream> <process>` to
/// `<accepted> <unresolved>`.
const REPORT_FIELD: &str = "report ";
/// A process that has not registered itself for this time no longer runs. It registers itself every
/// second.
const WRITER_AGE_MAX_MS: i64 = 5_000;

/// The last number of accepted items of an ended epoch that a process has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterReport {
    /// The process.
    pub writer: String,
    /// The epoch.
    pub epoch: String,
    /// The stream.
    pub stream: Stream,
    /// The number of accepted items.
    pub accepted: u64,
    /// The items of writes whose outcome is unknown: they may have been accepted afterward.
    pub unresolved: u64,
}

/// The processes that accept items, and their reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers {
    /// The processes that can write.
    pub active: BTreeSet<String>,
    /// The reports.
    pub reports: Vec<WriterReport>,
}

impl Ledger<'_> {
    /// Registers this process under a unique name, and reports the epochs that have ended. Call it
    /// every second. O(r) for r reports.
    pub async fn report_writer(self, writer: &str) -> Result<(), HotError> {
        let (keys, totals) = (&self.store.keys, &self.store.accepted_totals);
        let (known, ended) = (totals.known_epochs(), totals.ended_epochs());
        let mut call = REPORT.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).arg(format!("{WRITER}{writer}"));
        for EndedEpoch { stream, epoch, accepted, unresolved } in ended {
            call.arg(format!("{REPORT_FIELD}{epoch} {} {writer}", stream.name()));
            call.arg(format!("{accepted} {unresolved}"));
        }
        let current: Option<String> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        totals.observe_epoch(current.as_deref(), &known, Instant::now());
        Ok(())
    }

    /// Removes a process that no longer writes. O(1).
    pub async fn remove_writer(self, writer: &str) -> Result<(), HotError> {
        self.remove_fields(&[format!("{WRITER}{writer}")]).await
    }

    /// Returns the processes that accept items, and their reports, and removes processes that no
    /// longer run. O(w) for w processes.
    pub async fn list_writers(self) -> Result<Writers, HotError> {
        let ((seconds, micros), fields): ((i64, i64), BTreeMap<String, String>) = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .cmd("TIME")
                    .hgetall(self.store.keys.ledger())
                    .query_async(connection)
                    .await
            })
            .await?;
        let now = seconds * 1_000 + micros / 1_000;
        let (mut writers, mut expired) = (Writers::default(), Vec::new());
        for (field, value) in fields {
            if let Some(writer) = field.strip_prefix(WRITER) {
                match value.parse::<i64>() {
                    Ok(at) if now - at < WRITER_AGE_MAX_MS => {
                        writers.active.insert(writer.to_owned());
                    }
                    _ => expired.push(field),
                }
            } else if let Some(report) = field.strip_prefix(REPORT_FIELD) {
                writers.reports.extend(WriterReport::parse(report, &value));
            }
        }
        if !expired.is_empty() {
            self.remove_fields(&expired).await?;
        }
        Ok(writers)
    }

    /// Removes a report that Postgres stores. O(1).
    pub async fn remove_report(self, report: &WriterReport) -> Result<(), HotError> {
        let WriterReport { writer, epoch, stream, .. } = report;
        self.remove_fields(&[format!("{REPORT_FIELD}{epoch} {} {writer}", stream.name())]).await
    }

    async fn remove_fields(self, fields: &[String]) -> Result<(), HotError> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.store.keys.ledger()).arg(fields);
        self.store.call(async |connection| command.query_async::<()>(connection).await).await
    }
}

impl WriterReport {
    fn parse(field: &str, value: &str) -> Option<Self> {
        let mut names = field.splitn(3, ' ');
        let (epoch, stream, writer) = (names.next()?, names.next()?, names.next()?);
        let (accepted, unresolved) = value.split_once(' ')?;
        Some(Self {
            writer: writer.to_owned(),
            epoch: epoch.to_owned(),
            stream: Stream::ALL.into_iter().find(|one| one.name() == stream)?,
            accepted: accepted.parse().ok()?,
            unresolved: unresolved.parse().ok()?,
        })
    }
}
