//! The newest sighting of each host: kept for who asks, told to who listens; and which hosts are
//! watched.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use deadpool_redis::redis::{self, Script};
use mayfly_core::{Host, Sighting};
use mayfly_runtime::metrics as names;

use crate::{accept::millis, error::HotError, lease::Lease, pool::Hot};

static PUBLISH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/publish_sighting.lua")));
static WATCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/watch_hosts.lua")));
static LIST_WATCHED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/list_watched_hosts.lua")));

/// Bytes of a sighting as JSON: 100 pages with the longest names have some 530 KB. Whatever is longer
/// is none of ours.
pub(crate) const SIGHTING_BYTES_MAX: usize = 1024 * 1024;
/// How long a sighting is kept: as long as Postgres keeps samples.
const KEPT_FOR: Duration = Duration::from_secs(48 * 3_600);
/// A sighting that is further ahead of the one to be published than this was written by a clock that
/// was wrong, and holds up nobody.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// How long a host is watched after somebody said so.
const WATCHED_FOR: Duration = Duration::from_secs(5);
/// Hosts that are watched.
const WATCHED_MAX: usize = 1_000;
/// Hosts that one trip asks for.
const HOSTS_AT_ONCE: usize = 50;

/// What became of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SightingPublished {
    /// It is the newest.
    Done,
    /// One as new, or newer, is there.
    Late,
    /// The lease is another's by now.
    NotLeading,
}

impl Hot {
    /// Keeps and announces a sighting (JSON of `Sighting` under `keys.rising(host)` for 48 h, the same
    /// JSON on `feed:rising`) if the lease is still held and none as new is there.
    ///
    /// # Panics
    /// Never: a sighting is plain data.
    pub async fn publish_sighting(
        &self,
        lease: &Lease,
        sighting: &Sighting,
    ) -> Result<SightingPublished, HotError> {
        let Some(value) = lease.value() else { return Ok(SightingPublished::NotLeading) };
        let json = serde_json::to_vec(sighting).expect("invariant: it is plain data");
        let sampled_at = sighting.sampled_at;
        let mut call = PUBLISH.prepare_invoke();
        call.key(self.keys.lease(lease.job())).key(self.keys.rising(&sighting.host));
        call.arg(value).arg(json).arg(sampled_at.to_string());
        call.arg(sampled_at.plus(AHEAD_MAX).to_string()).arg(self.keys.feed_rising());
        call.arg(millis(KEPT_FOR));
        let answer: Vec<u8> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(match answer[..] {
            [2, failed] => {
                metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(u64::from(failed));
                SightingPublished::Done
            }
            [1] => SightingPublished::Late,
            _ => SightingPublished::NotLeading,
        })
    }

    /// The newest sighting of a host, if there is one that can be read.
    pub async fn find_sighting(&self, host: &Host) -> Result<Option<Sighting>, HotError> {
        let found = self.find_sightings(std::slice::from_ref(host)).await?;
        Ok(found.first().and_then(|json| serde_json::from_slice(json).ok()))
    }

    /// The newest sightings of these hosts, JSON as it was published, for those that have one. At most
    /// 1 MiB each.
    pub async fn find_sightings(&self, hosts: &[Host]) -> Result<Vec<Bytes>, HotError> {
        let mut found = Vec::new();
        for chunk in hosts.chunks(HOSTS_AT_ONCE) {
            let mut pipe = redis::pipe();
            for host in chunk {
                pipe.cmd("GETRANGE").arg(self.keys.rising(host)).arg(0).arg(SIGHTING_BYTES_MAX);
            }
            let sightings: Vec<Vec<u8>> =
                self.call(async |connection| pipe.query_async(connection).await).await?;
            let readable = |one: &Vec<u8>| (1..=SIGHTING_BYTES_MAX).contains(&one.len());
            found.extend(sightings.into_iter().filter(readable).map(Bytes::from));
        }
        Ok(found)
    }

    /// Says that live clients watch these hosts: good for 5 s. Of more than 1,000 hosts those that are
    /// watched already stay.
    pub async fn watch_hosts(&self, hosts: &[Host]) -> Result<(), HotError> {
        if hosts.is_empty() {
            return Ok(());
        }
        let mut call = WATCH.prepare_invoke();
        call.key(self.keys.watched_hosts()).arg(millis(WATCHED_FOR)).arg(WATCHED_MAX);
        for host in hosts {
            call.arg(host.as_str());
        }
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Hosts that live clients watch, at most 1,000; forgets those that nobody watches any more.
    pub async fn list_watched_hosts(&self) -> Result<Vec<Host>, HotError> {
        let mut call = LIST_WATCHED.prepare_invoke();
        call.key(self.keys.watched_hosts()).arg(millis(WATCHED_FOR)).arg(WATCHED_MAX);
        let hosts: Vec<String> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(hosts.into_iter().filter_map(|host| Host::parse(host).ok()).collect())
    }
}
