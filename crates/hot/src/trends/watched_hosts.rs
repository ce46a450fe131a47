//! Hosts that clients watch.

use std::time::Duration;

use mayfly_core::{Host, limits::WATCHED_HOSTS_MAX};

use crate::{
    connection::{HotError, millis, script},
    trends::{Trends, parse_hosts},
};

script!(WATCH, include_str!("watch_hosts.lua"));
script!(LIST, include_str!("list_watched_hosts.lua"));

/// The time to live of a watch.
const WATCH_TTL: Duration = Duration::from_secs(5);

impl Trends<'_> {
    /// Marks hosts as watched for 5 s, except hosts for which the visitor source has accepted no
    /// key. Once 1,000 hosts are watched, only renews existing watches. O(n log m) for n given
    /// hosts and m watched hosts.
    pub async fn watch_hosts(self, hosts: &[Host]) -> Result<(), HotError> {
        if hosts.is_empty() {
            return Ok(());
        }
        let mut call = WATCH.prepare_invoke();
        call.key(self.store.keys.watched_hosts()).arg(millis(WATCH_TTL)).arg(WATCHED_HOSTS_MAX);
        for host in hosts {
            call.key(self.store.keys.source_keys(host)).arg(host.as_str());
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Removes expired watches and lists at most 1,000 watched hosts. O(n) for n hosts.
    pub async fn list_watched_hosts(self) -> Result<Vec<Host>, HotError> {
        let mut call = LIST.prepare_invoke();
        call.key(self.store.keys.watched_hosts()).arg(millis(WATCH_TTL)).arg(WATCHED_HOSTS_MAX);
        let hosts = self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(parse_hosts(hosts))
    }
}
