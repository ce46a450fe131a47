//! Hosts that live clients watch.

use std::time::Duration;

use mayfly_core::Host;

use crate::{
    connection::{HotError, millis, script},
    trends::{Trends, parse_hosts},
};

script!(WATCH, include_str!("watch_hosts.lua"));
script!(LIST, include_str!("list_watched_hosts.lua"));

/// The time to live of a watch.
const WATCH_TTL: Duration = Duration::from_secs(5);
const WATCHED_HOSTS_MAX: usize = 1_000;

impl Trends<'_> {
    /// Marks hosts as watched for 5 s. If there are 1,000 hosts, no other ones are added.
    /// O(n log m) for n hosts given and m watched.
    pub async fn watch_hosts(self, hosts: &[Host]) -> Result<(), HotError> {
        if hosts.is_empty() {
            return Ok(());
        }
        let mut call = WATCH.prepare_invoke();
        call.key(self.store.keys.watched_hosts()).arg(millis(WATCH_TTL)).arg(WATCHED_HOSTS_MAX);
        for host in hosts {
            call.arg(host.as_str());
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Lists watched hosts, at most 1,000, and removes expired ones. O(n) for n hosts.
    pub async fn list_watched_hosts(self) -> Result<Vec<Host>, HotError> {
        let mut call = LIST.prepare_invoke();
        call.key(self.store.keys.watched_hosts()).arg(millis(WATCH_TTL)).arg(WATCHED_HOSTS_MAX);
        let hosts = self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(parse_hosts(hosts))
    }
}
