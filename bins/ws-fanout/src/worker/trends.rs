//! Delivers the `rising` feed: the newest trend frame of each watched host.

use std::{rc::Rc, sync::Arc};

use super::{
    Worker,
    connection::{PendingState, Stage},
};
use crate::{frames::TrendFrame, subscription::Subscription};

impl Worker {
    /// Stores a frame if its host is watched and the frame is new, and delivers the frame to all
    /// connections that watch the host.
    pub(super) fn deliver_trend(&mut self, frame: &Arc<TrendFrame>) {
        let Some(keys) = self.watched_hosts.update(frame) else { return };
        let mut delivered = 0;
        for key in keys {
            delivered += usize::from(self.try_send_trend(key, frame));
        }
        self.count_delivered(delivered);
    }

    /// Enqueues a new frame, or marks its host as pending if there is no room. Returns whether the
    /// caller must count the frame as delivered.
    fn try_send_trend(&mut self, key: usize, frame: &Arc<TrendFrame>) -> bool {
        let connection = &self.connections[key];
        // A starting connection receives its initial states after `hello`.
        if !matches!(connection.stage, Stage::Live | Stage::Replaying) {
            return false;
        }
        let is_pending =
            |state: &PendingState| matches!(state, PendingState::Host(host) if *host == frame.host);
        if connection.pending_states.iter().any(is_pending) {
            // This frame replaces the pending frame of the host.
            self.flush_pending(key);
            return false;
        }
        let is_queued = self.try_enqueue_state(key, frame.bytes(connection.group_key.encoding));
        if !is_queued {
            self.connections[key].mark_pending(PendingState::Host(frame.host.clone()));
        }
        is_queued
    }

    /// Watches and unwatches hosts after a subscription change. `before` is the previous
    /// subscription.
    pub(super) fn update_watched_hosts(&mut self, key: usize, before: &Subscription) {
        let group_key = Rc::clone(&self.connections[key].group_key);
        let after = &group_key.subscription;
        for host in after.watched_hosts().filter(|host| !before.watches_host(host)) {
            self.watched_hosts.watch(key, host);
        }
        for host in before.watched_hosts() {
            if !after.watches_host(host) {
                self.watched_hosts.unwatch(key, host);
            }
        }
    }
}
