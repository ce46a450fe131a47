//! Visits to pages: accepts the heartbeats of visitors, and counts the visitors to a host.

mod accept;
mod count;

pub use self::accept::{VisitWriteRequest, VisitWriter};

use std::time::Duration;

use mayfly_core::Host;

use crate::{
    connection::{HotError, HotStore, millis, script},
    trends::parse_hosts,
};

script!(LIST_HOSTS, include_str!("list_visited_hosts.lua"));
script!(REMOVE_HOST, include_str!("remove_visited_host.lua"));

/// How long a host without visitors stays listed after its last heartbeat has expired, if no
/// publisher removes it.
const HOST_RETENTION: Duration = Duration::from_secs(60);

/// Operations on visits.
#[derive(Clone, Copy)]
pub struct Visits<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on visits.
    #[must_use]
    pub fn visits(&self) -> Visits<'_> {
        Visits { store: self }
    }
}

impl Visits<'_> {
    /// Lists the hosts with visitors, and the hosts that lost their last visitor less than a minute
    /// ago and have not been removed by [`remove_host`](Self::remove_host). Removes all other
    /// hosts. O(n + r log n) for n hosts, at most `visits.hosts_max`, and r removed hosts.
    pub async fn list_hosts(self, ttl: Duration) -> Result<Vec<Host>, HotError> {
        let mut call = LIST_HOSTS.prepare_invoke();
        call.key(self.store.keys.visited_hosts()).key(self.store.keys.visited_host_owners());
        call.arg(millis(ttl + HOST_RETENTION));
        let hosts = self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(parse_hosts(hosts))
    }

    /// Removes a host from the listed hosts if the last heartbeat for the host has expired, or if it
    /// was recorded before the Redis clock was set back. O(log n) for n hosts.
    pub async fn remove_host(self, host: &Host, ttl: Duration) -> Result<(), HotError> {
        let mut call = REMOVE_HOST.prepare_invoke();
        call.key(self.store.keys.visited_hosts()).key(self.store.keys.visited_host_owners());
        call.arg(host.as_str()).arg(millis(ttl));
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }
}
