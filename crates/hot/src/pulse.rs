//! What the pulse is made of, and the pulse itself.

use std::{collections::HashMap, sync::LazyLock};

use deadpool_redis::redis::{self, Script};
use mayfly_runtime::metrics as names;

use crate::{error::HotError, lease::Lease, pool::Hot, state::StateFeed, stream::Stream};

static REPORT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/report_fanout.lua")));
static PUBLISH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/publish_pulse.lua")));

/// A process that has said nothing for so long is gone, in milliseconds.
const SILENT_MS: i64 = 5_000;

/// How many items there are, at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages and plays accepted in this epoch.
    pub accepted: u64,
    /// Messages and plays that wait to be stored or counted.
    pub waiting: u64,
    /// What each ws-fanout says of itself, by its name.
    pub fanouts: HashMap<String, FanoutReport>,
}

/// What a ws-fanout says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanoutReport {
    /// Its open connections.
    pub connections: u64,
    /// Frames that it has handed out since it began.
    pub delivered: u64,
}

impl Hot {
    /// Notes what a ws-fanout says of itself.
    pub async fn report_fanout(&self, name: &str, report: FanoutReport) -> Result<(), HotError> {
        let mut call = REPORT.prepare_invoke();
        call.key(self.keys.fanouts()).arg(name).arg(report.connections).arg(report.delivered);
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Takes back what a ws-fanout said of itself: it leaves.
    pub async fn forget_fanouts(&self, names: &[&str]) -> Result<(), HotError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HDEL");
        command.arg(self.keys.fanouts()).arg(names);
        self.call(async |connection| command.query_async::<()>(connection).await).await
    }

    /// How many items there are now; forgets processes that are gone.
    pub async fn find_totals(&self) -> Result<Totals, HotError> {
        /// The time, accepted items by stream, waiting messages, waiting plays, what ws-fanouts say.
        type Found = ((i64, i64), Vec<Option<u64>>, u64, Option<i64>, Vec<(String, String)>);
        let keys = &self.keys;
        let fields = Stream::ALL.map(|stream| stream.field("accepted"));
        let (now, accepted, waiting, plays, fanouts): Found = self
            .call(async |connection| {
                redis::pipe()
                    .cmd("TIME")
                    .hmget(keys.ledger(), &fields)
                    .hlen(keys.waiting())
                    .hget(keys.ledger(), Stream::Plays.field("waiting"))
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
        let mut gone = Vec::new();
        for (name, report) in &fanouts {
            match read_report(report).filter(|(at, _)| now - at < SILENT_MS) {
                Some((_, report)) => {
                    totals.fanouts.insert(name.clone(), report);
                }
                None => gone.push(name.as_str()),
            }
        }
        self.forget_fanouts(&gone).await?;
        Ok(totals)
    }

    /// Announces a pulse, JSON, if the lease is still held; gives whether it is.
    pub async fn publish_pulse(&self, lease: &Lease, pulse: &[u8]) -> Result<bool, HotError> {
        let Some(value) = lease.value() else { return Ok(false) };
        let mut call = PUBLISH.prepare_invoke();
        call.key(self.keys.lease(lease.job())).key(self.keys.pulse());
        call.arg(value).arg(pulse).arg(StateFeed::Pulse.channel(&self.keys));
        let answer: Vec<u8> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        if let [1, failed] = answer[..] {
            metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(u64::from(failed));
            return Ok(true);
        }
        Ok(false)
    }
}

fn read_report(text: &str) -> Option<(i64, FanoutReport)> {
    let mut words = text.split(' ');
    let at = words.next()?.parse().ok()?;
    let connections = words.next()?.parse().ok()?;
    Some((at, FanoutReport { connections, delivered: words.next()?.parse().ok()? }))
}
