//! Showing what rises: of each host that connections of this thread watch, the newest.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use mayfly_core::Host;

use super::Shard;
use crate::{
    client::{Owed, Stage},
    rising::Rising,
    subscription::Subscription,
};

/// A host that is watched on this thread.
pub(super) struct OfHost {
    /// Connections that watch it, in whatever stage they are.
    clients: HashSet<usize>,
    /// What they see, or are to see.
    pub(super) newest: Option<Arc<Rising>>,
}

impl OfHost {
    /// Whether a connection is to see it.
    pub(super) fn has(&self, key: usize) -> bool {
        self.clients.contains(&key)
    }
}

impl Shard {
    /// Keeps the newest frame of a host that is watched here, and shows it to all who watch it.
    pub(crate) fn show_rising(&mut self, rising: &Arc<Rising>) {
        let Some(of_host) = self.hosts.get_mut(&rising.host) else { return };
        // Frames may overtake each other on their way here, and one that was known already when the
        // first connection came may be told once more.
        if of_host.newest.as_ref().is_some_and(|newest| newest.number >= rising.number) {
            return;
        }
        of_host.newest = Some(Arc::clone(rising));
        let keys: Vec<_> = of_host.clients.iter().copied().collect();
        let mut shown = 0;
        for key in keys {
            shown += usize::from(self.show_rising_to(key, rising));
        }
        self.count_delivered(shown);
    }

    /// Shows one connection a frame that is new; what has no room it is owed.
    fn show_rising_to(&mut self, key: usize, rising: &Arc<Rising>) -> bool {
        let client = &self.clients[key];
        // Who is not greeted yet sees it afterwards.
        if !matches!(client.stage, Stage::Live | Stage::Replaying) {
            return false;
        }
        let is_owed = |owed: &Owed| matches!(owed, Owed::Host(host) if *host == rising.host);
        if client.owed.iter().any(is_owed) {
            // What it is owed is this one from now on.
            self.pay(key);
            return false;
        }
        let is_shown = self.offer_state(key, rising.bytes(client.interest.encoding));
        if !is_shown {
            self.clients[key].owe(Owed::Host(rising.host.clone()));
        }
        is_shown
    }

    /// Notes which hosts a connection watches from now on, and which no longer; `before` is what it
    /// wanted, if it is not new.
    pub(super) fn change_watching(&mut self, key: usize, before: Option<&Subscription>) {
        let interest = Rc::clone(&self.clients[key].interest);
        let after = &interest.subscription;
        let had = |host: &Host| before.is_some_and(|before| before.watches(host));
        for host in after.watched_hosts().filter(|host| !had(host)) {
            let begin = || OfHost { clients: HashSet::new(), newest: self.watched.watch(host) };
            self.hosts.entry(host.clone()).or_insert_with(begin).clients.insert(key);
        }
        for host in before.into_iter().flat_map(Subscription::watched_hosts) {
            if !after.watches(host) {
                self.end_watching(key, host);
            }
        }
    }

    /// Notes that a connection watches a host no longer.
    pub(super) fn end_watching(&mut self, key: usize, host: &Host) {
        let Some(of_host) = self.hosts.get_mut(host) else { return };
        of_host.clients.remove(&key);
        if of_host.clients.is_empty() {
            self.hosts.remove(host);
            self.watched.unwatch(host);
        }
    }
}
