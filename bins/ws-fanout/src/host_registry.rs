//! The hosts that this process's connections watch, each with its newest trend frame. A host is
//! removed when the last connection stops watching it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use mayfly_core::{Host, Timestamp};
use mayfly_hot::is_plausible_time;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::frames::TrendFrame;

/// The watched hosts of all workers.
#[derive(Default)]
pub(crate) struct HostRegistry {
    hosts: Mutex<Hosts>,
    /// Notified when hosts are added to `Hosts::requested`.
    requested: Notify,
}

#[derive(Default)]
struct Hosts {
    by_name: BTreeMap<Host, HostEntry>,
    /// Hosts whose snapshots must be read without waiting for the next poll.
    requested: BTreeSet<Host>,
    /// Number of frames stored since the process started. A stored frame takes this value as its
    /// [`TrendFrame::number`].
    stored_frames: u64,
}

#[derive(Default)]
struct HostEntry {
    /// Number of workers with connections that watch the host.
    workers: usize,
    newest: Option<Arc<TrendFrame>>,
}

impl HostRegistry {
    /// Records that a worker watches a host and returns the host's newest frame. If no frame is
    /// stored, requests the host's snapshot and returns `None`.
    pub(crate) fn watch(&self, host: &Host) -> Option<Arc<TrendFrame>> {
        let mut hosts = self.hosts.lock();
        let entry = hosts.by_name.entry(host.clone()).or_default();
        entry.workers += 1;
        let newest = entry.newest.clone();
        if newest.is_none() {
            hosts.requested.insert(host.clone());
            self.requested.notify_one();
        }
        newest
    }

    /// Records that a worker no longer watches a host.
    pub(crate) fn unwatch(&self, host: &Host) {
        let mut hosts = self.hosts.lock();
        let Some(entry) = hosts.by_name.get_mut(host) else { return };
        entry.workers -= 1;
        if entry.workers == 0 {
            hosts.by_name.remove(host);
            hosts.requested.remove(host);
        }
    }

    /// Returns up to `count` watched hosts in order of name, each at most once. Starts after
    /// `after`, or at the first host if `after` is `None`, and wraps around at the end.
    pub(crate) fn next_hosts(&self, after: Option<&Host>, count: usize) -> Vec<Host> {
        let by_name = &self.hosts.lock().by_name;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let following = by_name.range::<Host, _>((start, Bound::Unbounded)).map(|(host, _)| host);
        following.chain(by_name.keys()).take(count.min(by_name.len())).cloned().collect()
    }

    /// Returns the number of watched hosts.
    pub(crate) fn count(&self) -> usize {
        self.hosts.lock().by_name.len()
    }

    /// Requests the snapshots of all watched hosts.
    pub(crate) fn request_all(&self) {
        let mut hosts = self.hosts.lock();
        hosts.requested = hosts.by_name.keys().cloned().collect();
        self.requested.notify_one();
    }

    /// Waits until snapshots are requested. Clears the requests, and returns the requested hosts
    /// that are still watched.
    pub(crate) async fn requested_hosts(&self) -> Vec<Host> {
        self.requested.notified().await;
        std::mem::take(&mut self.hosts.lock().requested).into_iter().collect()
    }

    /// Returns whether a snapshot is needed: the host must be watched, and the snapshot must be
    /// newer than the stored frame, if any. If the timestamp of the stored frame is too far in the
    /// future, any other timestamp is accepted, so that a wrong clock cannot block the feed.
    pub(crate) fn needs(&self, host: &Host, sampled_at: Timestamp, now: Timestamp) -> bool {
        self.hosts.lock().needs(host, sampled_at, now)
    }

    /// Numbers, stores and returns a frame if it is needed. Otherwise, returns `None`.
    pub(crate) fn store(&self, mut frame: TrendFrame, now: Timestamp) -> Option<Arc<TrendFrame>> {
        let mut hosts = self.hosts.lock();
        if !hosts.needs(&frame.host, frame.sampled_at, now) {
            return None;
        }
        hosts.stored_frames += 1;
        frame.number = hosts.stored_frames;
        let frame = Arc::new(frame);
        let entry = hosts.by_name.get_mut(&frame.host)?;
        entry.newest = Some(Arc::clone(&frame));
        Some(frame)
    }
}

impl Hosts {
    fn needs(&self, host: &Host, sampled_at: Timestamp, now: Timestamp) -> bool {
        let Some(entry) = self.by_name.get(host) else { return false };
        entry.newest.as_ref().is_none_or(|newest| {
            if is_plausible_time(newest.sampled_at, now) {
                sampled_at > newest.sampled_at
            } else {
                sampled_at != newest.sampled_at
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_returned_in_turn() {
        let host = |name: &str| Host::parse(name.to_owned()).expect("a valid host");
        let registry = HostRegistry::default();
        assert_eq!(registry.next_hosts(None, 2), []);
        for name in ["c", "a", "b"] {
            registry.watch(&host(name));
        }
        let next = |after: Option<&str>, count| {
            let hosts = registry.next_hosts(after.map(host).as_ref(), count);
            hosts.iter().map(|host| host.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(next(None, 2), ["a", "b"]);
        assert_eq!(next(Some("b"), 2), ["c", "a"]);
        assert_eq!(next(Some("aa"), 9), ["b", "c", "a"]);
        assert_eq!(registry.count(), 3);
    }
}
