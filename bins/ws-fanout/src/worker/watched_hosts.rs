//! The hosts that the connections of one worker watch.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mayfly_core::Host;

use crate::{frames::TrendFrame, host_registry::HostRegistry};

/// The watched hosts of one worker, registered in the [`HostRegistry`] of the process.
pub(super) struct WatchedHosts {
    registry: Arc<HostRegistry>,
    by_name: HashMap<Host, WatchedHost>,
}

struct WatchedHost {
    /// Keys of the connections that watch the host, regardless of their stage.
    connections: HashSet<usize>,
    newest: Option<Arc<TrendFrame>>,
}

impl WatchedHosts {
    pub(super) fn new(registry: Arc<HostRegistry>) -> Self {
        Self { registry, by_name: HashMap::new() }
    }

    pub(super) fn watch(&mut self, key: usize, host: &Host) {
        let registry = &self.registry;
        let new_entry =
            || WatchedHost { connections: HashSet::new(), newest: registry.watch(host) };
        self.by_name.entry(host.clone()).or_insert_with(new_entry).connections.insert(key);
    }

    pub(super) fn unwatch(&mut self, key: usize, host: &Host) {
        let Some(watched) = self.by_name.get_mut(host) else { return };
        watched.connections.remove(&key);
        if watched.connections.is_empty() {
            self.by_name.remove(host);
            self.registry.unwatch(host);
        }
    }

    /// Stores a frame and returns the keys of the connections that watch its host, or `None` if the
    /// host is not watched or the frame is not new.
    pub(super) fn update(&mut self, frame: &Arc<TrendFrame>) -> Option<Vec<usize>> {
        let watched = self.by_name.get_mut(&frame.host)?;
        // Frames can arrive out of order. A frame that the registry returned when the worker
        // started to watch the host can also arrive as an event.
        if watched.newest.as_ref().is_some_and(|newest| newest.number >= frame.number) {
            return None;
        }
        watched.newest = Some(Arc::clone(frame));
        Some(watched.connections.iter().copied().collect())
    }

    pub(super) fn has_frame(&self, host: &Host) -> bool {
        self.by_name.get(host).is_some_and(|watched| watched.newest.is_some())
    }

    /// Returns the newest frame of a host if the connection watches the host.
    pub(super) fn find_frame(&self, key: usize, host: &Host) -> Option<&Arc<TrendFrame>> {
        let watched = self.by_name.get(host)?;
        watched.newest.as_ref().filter(|_| watched.connections.contains(&key))
    }
}
