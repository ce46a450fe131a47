//! The totals that the pulse reports.

use std::collections::HashMap;

use deadpool_redis::redis;

use crate::{
    connection::HotError,
    queue::Stream,
    snapshots::{FanoutReport, Snapshots},
};

/// A process that has not reported for this time no longer runs.
const REPORT_MAX_AGE_MS: i64 = 5_000;

/// The totals at one point in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages and plays accepted in this epoch.
    pub accepted: u64,
    /// Messages and plays that are not stored or counted yet.
    pub waiting: u64,
    /// The report of each ws-fanout process by its name.
    pub fanouts: HashMap<String, FanoutReport>,
}

impl Snapshots<'_> {
    /// Returns the current totals and removes the reports of processes that no longer run. O(n) for
    /// n ws-fanout processes.
    pub async fn find_totals(self) -> Result<Totals, HotError> {
        /// Time, accepted items per stream, waiting messages, waiting plays, reports.
        type Reply = ((i64, i64), Vec<Option<u64>>, u64, Option<i64>, Vec<(String, String)>);
        let keys = &self.store.keys;
        let fields = Stream::ALL.map(|stream| stream.ledger_field("accepted"));
        let (now, accepted, waiting, plays, reports): Reply = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .cmd("TIME")
                    .hmget(keys.ledger(), &fields)
                    .hlen(keys.waiting())
                    .hget(keys.ledger(), Stream::Plays.ledger_field("waiting"))
                    .hgetall(keys.fanouts())
                    .query_async(connection)
                    .await
            })
            .await?;
        let now = now.0 * 1_000 + now.1 / 1_000;
        let mut totals = Totals {
            accepted: accepted.into_iter().flatten().sum(),
            waiting: waiting + plays.and_then(|plays| u64::try_from(plays).ok()).unwrap_or(0),
            fanouts: HashMap::new(),
        };
        let mut expired = Vec::new();
        for (name, report) in &reports {
            match FanoutReport::parse(report).filter(|(at, _)| now - at < REPORT_MAX_AGE_MS) {
                Some((_, report)) => {
                    totals.fanouts.insert(name.clone(), report);
                }
                None => expired.push(name.as_str()),
            }
        }
        self.store.fanouts().remove(&expired).await?;
        Ok(totals)
    }
}
