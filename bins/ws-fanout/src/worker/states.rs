//! Delivery of state feeds. Only the newest state counts, so a state without room in the send queue
//! stays pending outside the queue, and is not reported as a gap.

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

    /// Returns the connections that subscribe to a feed without replay. This includes connections
    /// that receive a replay, which are not in a group yet.
    pub(super) fn find_subscribers(&self, feed: Feed) -> Vec<usize> {
        let groups = self.groups.with_feed(feed);
        let live = groups.flat_map(|group| self.groups.members(group)).copied();
        let is_replaying = |connection: &Connection| {
            connection.stage == Stage::Replaying && connection.group_key.subscription.has_feed(feed)
        };
        live.chain(self.keys(is_replaying)).collect()
    }

    /// Sends a new connection the newest states that it subscribes to.
    pub(super) fn send_initial_states(&mut self, key: usize) {
        self.mark_new_feeds_pending(key, None);
        self.flush_pending(key);
    }

    /// Marks the states as pending that the connection subscribes to and `before` did not include.
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

    /// Enqueues the newest frames of the pending states, as far as there is room.
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

    /// Enqueues a state if there is room, and returns whether there was. States can be many and
    /// large: they use at most half of the send queue, so that they never turn a client into a slow
    /// consumer of messages.
    pub(super) fn try_enqueue_state(&mut self, key: usize, state: Bytes) -> bool {
        let QueueLimits { frames, bytes } = self.queue_limits;
        let half = QueueLimits { frames: frames / 2, bytes: bytes / 2 };
        let connection = &mut self.connections[key];
        if !connection.has_room(state.len(), 1, half) {
            connection.flush();
        }
        connection.has_room(state.len(), 1, half) && self.try_enqueue(key, state, 1)
    }

    /// Returns the newest frame of a pending state if it is still subscribed.
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
