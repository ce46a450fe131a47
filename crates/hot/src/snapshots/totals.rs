//! The totals that the pulse reports.

use std::collections::HashMap;

use deadpool_redis::redis::{self, FromRedisValue, RedisError, Value};

use crate::{
    connection::HotError,
    queue::Stream,
    snapshots::{FanoutReport, Snapshots},
};

/// The maximum age of a report, in ms. A process without a more recent report is considered
/// stopped.
const REPORT_MAX_AGE_MS: i64 = 5_000;

/// The totals at one point in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of messages and plays accepted in the current epoch.
    pub accepted: u64,
    /// The number of accepted messages and plays that have not been stored or counted yet.
    pub waiting: u64,
    /// The current report of each ws-fanout process, by the name of the process.
    pub fanouts: HashMap<String, FanoutReport>,
}

impl Snapshots<'_> {
    /// Removes malformed reports and the reports of stopped processes, and returns the current
    /// totals. Treats a key that cannot be read as empty. O(n) for n ws-fanout processes.
    pub async fn find_totals(self) -> Result<Totals, HotError> {
        let keys = &self.store.keys;
        let fields = Stream::ALL.map(|stream| stream.ledger_field("accepted"));
        let replies: Vec<Result<Value, RedisError>> = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .ignore_errors()
                    .cmd("TIME")
                    .hmget(keys.ledger(), &fields)
                    .hlen(keys.waiting())
                    .hget(keys.ledger(), Stream::Plays.ledger_field("waiting"))
                    .hgetall(keys.fanouts())
                    .query_async(connection)
                    .await
            })
            .await?;
        let mut replies = replies.into_iter();
        let now: (i64, i64) = self.parse_reply("TIME", replies.next())?;
        let accepted: Vec<Option<u64>> = self.parse_reply(&keys.ledger(), replies.next())?;
        let waiting: u64 = self.parse_reply(&keys.waiting(), replies.next())?;
        let plays: Option<i64> = self.parse_reply("plays.waiting", replies.next())?;
        let reports: Vec<(String, String)> = self.parse_reply(&keys.fanouts(), replies.next())?;
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

    fn parse_reply<T: FromRedisValue + Default>(
        self,
        key: &str,
        reply: Option<Result<Value, RedisError>>,
    ) -> Result<T, HotError> {
        let reply = reply.unwrap_or(Ok(Value::Nil));
        let parsed = reply.and_then(|value| Ok(redis::from_redis_value(value)?));
        Ok(self.store.skip_unreadable(key, parsed)?.unwrap_or_default())
    }
}
