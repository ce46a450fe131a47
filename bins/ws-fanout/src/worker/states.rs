//! Delivers state feeds. Only the newest state matters, so a state that does not fit into the send
//! queue stays pending and is not reported as a gap.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use mayfly_core::Feed;

use super::{
    Worker,
    connection::{Connection, PendingState, QueueLimits, Stage},
};
use crate::{frames::StateFrame, subscription::Subscription};

impl Worker {
    /// Stores the newest state of a feed and delivers it to all subscribers.
    pub(super) fn deliver_state(&mut self, state: &Arc<StateFrame>) {
        let feed = state.feed;
        self.states.insert(feed, Arc::clone(state));
        for key in self.find_subscribers(feed) {
            self.connections[key].mark_pending(PendingState::Feed(feed));
            self.flush_pending(key);
        }
    }

    /// Returns the keys of the live and replaying connections that subscribe to a feed. Replaying
    /// connections are not in a group.
    pub(super) fn find_subscribers(&self, feed: Feed) -> Vec<usize> {
        let groups = self.groups.with_feed(feed);
        let live = groups.flat_map(|group| self.groups.members(group)).copied();
        let is_replaying = |connection: &Connection| {
            connection.stage == Stage::Replaying && connection.group_key.subscription.has_feed(feed)
        };
        live.chain(self.keys(is_replaying)).collect()
    }

    /// Sends a new connection the newest states of its feeds and watched hosts.
    pub(super) fn send_initial_states(&mut self, key: usize) {
        self.mark_new_feeds_pending(key, None);
        self.flush_pending(key);
    }

    /// Marks the known states of newly subscribed feeds and newly watched hosts as pending.
    /// `before` is the previous subscription, or `None` for a new connection.
    pub(super) fn mark_new_feeds_pending(&mut self, key: usize, before: Option<&Subscription>) {
        let connection = &mut self.connections[key];
        for &feed in self.states.keys() {
            let was_subscribed = before.is_some_and(|before| before.has_feed(feed));
            if !was_subscribed && connection.group_key.subscription.has_feed(feed) {
                connection.mark_pending(PendingState::Feed(feed));
            }
        }
        let group_key = Rc::clone(&connection.group_key);
        for host in group_key.subscription.watched_hosts() {
            let was_watched = before.is_some_and(|before| before.watches_host(host));
            if !was_watched && self.watched_hosts.has_frame(host) {
                connection.mark_pending(PendingState::Host(host.clone()));
            }
        }
    }

    /// Enqueues the newest frames of the pending states that fit into the send queue. Enqueues
    /// nothing while a `gap` frame is pending.
    pub(crate) fn flush_pending(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.pending_states.is_empty() || connection.gap.is_some() || !connection.is_open()
        {
            return;
        }
        for state in std::mem::take(&mut connection.pending_states) {
            let Some(bytes) = self.find_pending_frame(key, &state) else { continue };
            if self.try_enqueue_state(key, bytes) {
                self.count_delivered(1);
            } else {
                self.connections[key].mark_pending(state);
            }
        }
    }

    /// Enqueues a state if the send queue is empty or stays at most half full, flushing first if
    /// necessary. Returns whether the state was enqueued. Enqueues nothing while a `gap` frame is
    /// pending. States can be numerous and large. The limit prevents them from turning a client
    /// into a slow consumer of messages.
    pub(super) fn try_enqueue_state(&mut self, key: usize, state: Bytes) -> bool {
        let QueueLimits { frames, bytes } = self.queue_limits;
        let half = QueueLimits { frames: frames / 2, bytes: bytes / 2 };
        let connection = &mut self.connections[key];
        if !connection.has_room(state.len(), 1, half) {
            connection.flush();
        }
        connection.has_room(state.len(), 1, half) && self.try_enqueue(key, state, 1)
    }

    /// Returns the newest frame of a pending state, or `None` if the connection no longer
    /// subscribes to the feed, or no longer watches the host.
    fn find_pending_frame(&self, key: usize, state: &PendingState) -> Option<Bytes> {
        let group_key = &self.connections[key].group_key;
        match state {
            PendingState::Feed(feed) => {
                let frame = self.states.get(feed)?;
                let is_subscribed = group_key.subscription.has_feed(*feed);
                is_subscribed.then(|| frame.bytes(group_key.encoding))
            }
            PendingState::Host(host) => {
                let frame = self.watched_hosts.find_frame(key, host)?;
                Some(frame.bytes(group_key.encoding))
            }
        }
    }
}
