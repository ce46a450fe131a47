//! Trending pages: trend snapshots, watched hosts, and calls to the visitor source.

mod registration;
mod source;
mod source_calls;
mod watched_hosts;

pub use self::{
    registration::UnregisteredKey,
    source::{Source, SourceFailure, SourceState},
    source_calls::{CallDecision, CallDenied, CallReason, SourceCall, SourceOutcome},
};

use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::{self, RedisError};
use mayfly_core::{Feed, Host, TrendSnapshot};

use crate::{
    connection::{HotError, HotStore, millis, script},
    lease::Lease,
    snapshots::{CLOCK_SKEW_MAX, PublishOutcome},
};

script!(PUBLISH, include_str!("publish_trend.lua"));

/// The maximum size of a trend snapshot, in bytes. A snapshot of 100 pages with the longest names
/// takes about 530 KB. Larger values come from another program.
pub(crate) const TREND_BYTES_MAX: usize = 1024 * 1024;
/// The time to live of a trend snapshot. Postgres retains samples for the same period.
const TREND_TTL: Duration = Duration::from_secs(48 * 3_600);
/// The maximum number of hosts in one round trip.
const HOSTS_PER_CALL: usize = 50;

/// Parses the members of a set of hosts. Skips invalid hosts, which come from another program.
pub(crate) fn parse_hosts(members: Vec<Vec<u8>>) -> Vec<Host> {
    let texts = members.into_iter().filter_map(|member| String::from_utf8(member).ok());
    texts.filter_map(|text| Host::parse(text).ok()).collect()
}

/// Operations on trend snapshots and watched hosts.
#[derive(Clone, Copy)]
pub struct Trends<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on trend snapshots and watched hosts.
    #[must_use]
    pub fn trends(&self) -> Trends<'_> {
        Trends { store: self }
    }
}

impl Trends<'_> {
    /// Stores and publishes a trend snapshot as JSON if the lease is held, unless the stored
    /// snapshot is at least as new. The snapshot is stored under `keys.rising(host)` for 48 h and
    /// published on the `rising` feed. O(b + n) for a snapshot of b bytes and n subscribers.
    ///
    /// # Panics
    /// Never: a trend snapshot is plain data.
    pub async fn publish(
        self,
        lease: &Lease,
        snapshot: &TrendSnapshot,
    ) -> Result<PublishOutcome, HotError> {
        let Some(value) = lease.value() else { return Ok(PublishOutcome::NotLeader) };
        let json = serde_json::to_vec(snapshot).expect("invariant: a snapshot is plain data");
        let (keys, sampled_at) = (&self.store.keys, snapshot.sampled_at);
        let mut call = PUBLISH.prepare_invoke();
        call.key(keys.lease(lease.job())).key(keys.rising(&snapshot.host));
        call.arg(value).arg(json).arg(sampled_at.to_string());
        call.arg(sampled_at.plus(CLOCK_SKEW_MAX).to_string()).arg(keys.feed(Feed::Rising));
        call.arg(millis(TREND_TTL));
        let reply: Vec<u8> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(PublishOutcome::from_reply(&reply))
    }

    /// Returns the newest trend snapshot of a host, if there is a valid one.
    pub async fn find(self, host: &Host) -> Result<Option<TrendSnapshot>, HotError> {
        let found = self.find_many(std::slice::from_ref(host)).await?;
        Ok(found.first().and_then(|json| serde_json::from_slice(json).ok()))
    }

    /// Returns the newest trend snapshot of each host that has one, as the published JSON. Skips a
    /// key if it has the wrong type or its value is larger than 1 MiB. The next publication
    /// overwrites the key.
    pub async fn find_many(self, hosts: &[Host]) -> Result<Vec<Bytes>, HotError> {
        let mut found = Vec::new();
        for chunk in hosts.chunks(HOSTS_PER_CALL) {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            for host in chunk {
                pipe.cmd("GETRANGE").arg(self.store.keys.rising(host)).arg(0).arg(TREND_BYTES_MAX);
            }
            let values: Vec<Result<Vec<u8>, RedisError>> =
                self.store.call(async |connection| pipe.query_async(connection).await).await?;
            for (host, value) in chunk.iter().zip(values) {
                let key = self.store.keys.rising(host);
                let value = self.store.skip_unreadable(&key, value)?.unwrap_or_default();
                if (1..=TREND_BYTES_MAX).contains(&value.len()) {
                    found.push(Bytes::from(value));
                }
            }
        }
        Ok(found)
    }
}
