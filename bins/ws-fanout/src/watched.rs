//! The hosts that connections of this process watch, and the newest frame of each. What nobody watches
//! any more is forgotten at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mayfly_core::{Host, Timestamp};
use mayfly_hot::Hot;
use tokio::sync::Notify;

use crate::rising::Rising;

/// The hosts that are watched here, over all threads.
#[derive(Default)]
pub(crate) struct Watched {
    hosts: Mutex<Hosts>,
    /// Told when there are hosts to be looked for.
    asked: Notify,
}

#[derive(Default)]
struct Hosts {
    by_name: BTreeMap<Host, OfHost>,
    /// Those whose newest frame is to be looked for at once.
    wanted: BTreeSet<Host>,
    /// Frames that were kept so far: each has its number.
    frames: u64,
}

#[derive(Default)]
struct OfHost {
    /// Threads with connections that watch it.
    threads: usize,
    newest: Option<Arc<Rising>>,
}

impl Watched {
    /// Notes that a thread watches a host; gives its newest frame. If none is known here, it is looked
    /// for.
    pub(crate) fn watch(&self, host: &Host) -> Option<Arc<Rising>> {
        let mut hosts = self.lock();
        let of_host = hosts.by_name.entry(host.clone()).or_default();
        of_host.threads += 1;
        let newest = of_host.newest.clone();
        if newest.is_none() {
            hosts.wanted.insert(host.clone());
            self.asked.notify_one();
        }
        newest
    }

    /// Notes that a thread watches a host no longer.
    pub(crate) fn unwatch(&self, host: &Host) {
        let mut hosts = self.lock();
        let Some(of_host) = hosts.by_name.get_mut(host) else { return };
        of_host.threads -= 1;
        if of_host.threads == 0 {
            hosts.by_name.remove(host);
            hosts.wanted.remove(host);
        }
    }

    /// All hosts that are watched, by name.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.lock().by_name.keys().cloned().collect()
    }

    /// Has all hosts looked for at once.
    pub(crate) fn look_for_all(&self) {
        let mut hosts = self.lock();
        hosts.wanted = hosts.by_name.keys().cloned().collect();
        self.asked.notify_one();
    }

    /// Waits for hosts that are to be looked for.
    pub(crate) async fn wanted(&self) -> Vec<Host> {
        self.asked.notified().await;
        std::mem::take(&mut self.lock().wanted).into_iter().collect()
    }

    /// Whether a frame of a host is wanted: if somebody watches it, and knows none as new. What a
    /// clock wrote that was wrong holds up nobody.
    pub(crate) fn wants(&self, host: &Host, sampled_at: Timestamp, now: Timestamp) -> bool {
        self.lock().wants(host, sampled_at, now)
    }

    /// Keeps a frame if it is wanted, and gives it a number that is greater than all before.
    pub(crate) fn keep(&self, mut rising: Rising, now: Timestamp) -> Option<Arc<Rising>> {
        let mut hosts = self.lock();
        if !hosts.wants(&rising.host, rising.sampled_at, now) {
            return None;
        }
        hosts.frames += 1;
        rising.number = hosts.frames;
        let rising = Arc::new(rising);
        let of_host = hosts.by_name.get_mut(&rising.host)?;
        of_host.newest = Some(Arc::clone(&rising));
        Some(rising)
    }

    /// A panic elsewhere must not take it along: it is whole between any two lines.
    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    fn wants(&self, host: &Host, sampled_at: Timestamp, now: Timestamp) -> bool {
        let Some(of_host) = self.by_name.get(host) else { return false };
        of_host.newest.as_ref().is_none_or(|newest| {
            if Hot::is_state_time_believed(newest.sampled_at, now) {
                sampled_at > newest.sampled_at
            } else {
                sampled_at != newest.sampled_at
            }
        })
    }
}
