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
    /// Hosts with a stored frame.
    with_frame: BTreeSet<Host>,
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
            hosts.with_frame.remove(host);
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

    /// Returns up to `count` watched hosts to report, each at most once. Hosts with a stored frame
    /// have priority, because clients can watch any number of hosts that do not exist. The other
    /// hosts, and the hosts with a frame if there are more than `count`, take turns in order of
    /// name: `after` is the last host of the previous report.
    pub(crate) fn next_reported(&self, after: Option<&Host>, count: usize) -> Vec<Host> {
        let hosts = self.hosts.lock();
        let Hosts { by_name, with_frame, .. } = &*hosts;
        let following = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let turns = with_frame.range::<Host, _>(following).chain(with_frame);
        let mut reported: Vec<_> = turns.take(count.min(with_frame.len())).cloned().collect();
        let others = by_name.range::<Host, _>(following).chain(by_name);
        let others = others.filter(|(_, entry)| entry.newest.is_none()).map(|(host, _)| host);
        let room = (count - reported.len()).min(by_name.len() - with_frame.len());
        reported.extend(others.take(room).cloned());
        reported
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

    /// Waits until snapshots are requested. Takes at most `count` requests, and returns the
    /// requested hosts that are still watched.
    pub(crate) async fn requested_hosts(&self, count: usize) -> Vec<Host> {
        self.requested.notified().await;
        let mut hosts = self.hosts.lock();
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(host) = hosts.requested.pop_first()
        {
            taken.push(host);
        }
        if !hosts.requested.is_empty() {
            self.requested.notify_one();
        }
        taken
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
        if entry.newest.replace(Arc::clone(&frame)).is_none() {
            hosts.with_frame.insert(frame.host.clone());
        }
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
    use mayfly_core::TrendSnapshot;

    use super::*;
    use crate::hub::ConnectionMemory;

    fn host(name: &str) -> Host {
        Host::parse(name.to_owned()).expect("a valid host")
    }

    #[test]
    fn hosts_are_returned_in_turn() {
        let registry = HostRegistry::default();
        assert_eq!(registry.next_hosts(None, 2), []);
        for name in ["c", "a", "b"] {
            registry.watch(&host(name));
        }
        let next = |after: Option<&str>, count| {
            names(&registry.next_hosts(after.map(host).as_ref(), count))
        };
        assert_eq!(next(None, 2), ["a", "b"]);
        assert_eq!(next(Some("b"), 2), ["c", "a"]);
        assert_eq!(next(Some("aa"), 9), ["b", "c", "a"]);
        assert_eq!(registry.count(), 3);
    }

    #[test]
    fn hosts_without_a_frame_do_not_displace_others_from_reports() {
        let registry = HostRegistry::default();
        for name in ["a", "b", "c", "y", "z"] {
            registry.watch(&host(name));
        }
        store(&registry, "y");
        let next = |after: Option<&str>, count| {
            names(&registry.next_reported(after.map(host).as_ref(), count))
        };
        assert_eq!(next(None, 3), ["y", "a", "b"]);
        assert_eq!(next(Some("b"), 3), ["y", "c", "z"]);
        assert_eq!(next(Some("z"), 9), ["y", "a", "b", "c", "z"]);
        store(&registry, "b");
        store(&registry, "z");
        // Not all hosts with a frame fit, so they take turns.
        assert_eq!(next(Some("b"), 2), ["y", "z"]);
        assert_eq!(next(Some("z"), 2), ["b", "y"]);
        registry.unwatch(&host("y"));
        assert_eq!(next(None, 3), ["b", "z", "a"]);
    }

    fn names(hosts: &[Host]) -> Vec<String> {
        hosts.iter().map(|host| host.as_str().to_owned()).collect()
    }

    fn store(registry: &HostRegistry, name: &str) {
        let now = Timestamp::from_millis(1_795_201_623_000);
        let snapshot = TrendSnapshot {
            host: host(name),
            sampled_at: now,
            visitors: 1,
            exact: true,
            compared_to: None,
            pages: Vec::new(),
        };
        let frame = TrendFrame::encode(&snapshot, &ConnectionMemory::new(0));
        assert!(registry.store(frame, now).is_some());
    }
}
