//! Reports of ws-fanout processes.

use deadpool_redis::redis;

use crate::connection::{HotError, HotStore, script};

script!(REPORT, include_str!("report_fanout.lua"));

/// The report of a ws-fanout process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanoutReport {
    /// The number of open connections.
    pub connections: u64,
    /// The number of frames that the process has sent since it started.
    pub delivered: u64,
}

impl FanoutReport {
    /// Parses a stored report. Returns the time of the report in ms and the report itself, or
    /// `None` if the text is malformed.
    pub(super) fn parse(text: &str) -> Option<(i64, Self)> {
        let mut words = text.split(' ');
        let at = words.next()?.parse().ok()?;
        let connections = words.next()?.parse().ok()?;
        Some((at, Self { connections, delivered: words.next()?.parse().ok()? }))
    }
}

/// Operations on reports of ws-fanout processes.
#[derive(Clone, Copy)]
pub struct Fanouts<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on reports of ws-fanout processes.
    #[must_use]
    pub fn fanouts(&self) -> Fanouts<'_> {
        Fanouts { store: self }
    }
}

impl Fanouts<'_> {
    /// Stores the report of the process `name` with the current time. O(1).
    pub async fn report(self, name: &str, report: FanoutReport) -> Result<(), HotError> {
        let mut call = REPORT.prepare_invoke();
        call.key(self.store.keys.fanouts());
        call.arg(name).arg(report.connections).arg(report.delivered);
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Removes the reports of the named processes. O(n) for n processes.
    pub async fn remove(self, names: &[&str]) -> Result<(), HotError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HDEL");
        command.arg(self.store.keys.fanouts()).arg(names);
        self.store.call(async |connection| command.query_async::<()>(connection).await).await
    }
}
