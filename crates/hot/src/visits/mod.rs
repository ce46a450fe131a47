//! Visits of pages: heartbeats of visitors, and counting the visitors of a host.

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

/// How long after its last heartbeat expired a host is still listed, if its visitors are not
/// counted.
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
    /// Lists hosts with visitors, at most `visits.hosts_max`, and hosts whose visitors left
    /// recently, until [`remove_host`](Self::remove_host). O(n) for n hosts.
    pub async fn list_hosts(self, ttl: Duration) -> Result<Vec<Host>, HotError> {
        let mut call = LIST_HOSTS.prepare_invoke();
        call.key(self.store.keys.visited_hosts()).key(self.store.keys.visited_host_owners());
        call.arg(millis(ttl + HOST_RETENTION));
        let hosts = self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(parse_hosts(hosts))
    }

    /// Removes a host without visitors. Has no effect if a heartbeat arrived in the meantime.
    /// O(log n) for n hosts.
    pub async fn remove_host(self, host: &Host, ttl: Duration) -> Result<(), HotError> {
        let mut call = REMOVE_HOST.prepare_invoke();
        call.key(self.store.keys.visited_hosts()).key(self.store.keys.visited_host_owners());
        call.arg(host.as_str()).arg(millis(ttl));
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }
}
