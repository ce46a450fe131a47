//! The processes that accept items. Each process registers itself in the ledger. After an epoch has
//! ended, each process reports the greatest total that it received from Redis for the items
//! accepted in the epoch, because Redis may have lost this total together with other data.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_redis::redis;
use tokio::time::Instant;

use crate::{
    connection::{HotError, script},
    queue::{Ledger, Stream},
    write::EndedEpoch,
};

script!(REPORT, include_str!("report_writer.lua"));

/// The prefix of the ledger fields `writer <process>`. Each field contains the time of the last
/// registration of the process, in ms.
const WRITER: &str = "writer ";
/// The prefix of the ledger fields `report <epoch> <stream> <process>`. Each field contains the
/// numbers `<accepted> <unresolved>`.
const REPORT_FIELD: &str = "report ";
/// The maximum age of a registration, in ms. A process without a more recent registration is
/// considered stopped. Processes renew their registrations every second.
const WRITER_AGE_MAX_MS: i64 = 5_000;

/// The report of a process about an ended epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterReport {
    /// The name of the process.
    pub writer: String,
    /// The ended epoch.
    pub epoch: String,
    /// The stream.
    pub stream: Stream,
    /// The greatest total that the process received from Redis for the items accepted in the epoch.
    pub accepted: u64,
    /// The number of items in writes whose outcome is unknown and that Redis may have executed
    /// after it returned `accepted`. Redis may have accepted these items in addition to `accepted`.
    pub unresolved: u64,
}

/// The processes that accept items, and their reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers {
    /// The names of the processes that have a current registration.
    pub active: BTreeSet<String>,
    /// The reports about ended epochs.
    pub reports: Vec<WriterReport>,
}

impl Ledger<'_> {
    /// Registers this process under the unique name `writer`, and stores its reports about ended
    /// epochs. Then reads the current epoch, so that the next call reports the epochs that have
    /// ended. Call this every second. O(r) for r reports.
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

    /// Removes the registration of a process that has stopped accepting items. O(1).
    pub async fn remove_writer(self, writer: &str) -> Result<(), HotError> {
        self.remove_fields(&[format!("{WRITER}{writer}")]).await
    }

    /// Removes expired registrations, and returns the registered processes and all reports.
    /// O(w + r) for w processes and r reports.
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

    /// Removes a report. Call this only after Postgres has stored or rejected the report. O(1).
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
