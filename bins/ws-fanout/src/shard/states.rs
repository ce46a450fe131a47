//! Showing state: what counts is the newest, therefore what has no room waits beside the queue, and
//! is not told as a gap.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;

use super::Shard;
use crate::{
    client::{Bounds, Client, Owed, Stage},
    state::State,
    subscription::{Feed, Subscription},
};

impl Shard {
    /// Keeps the newest state of a feed, and shows it to everybody who wants it.
    pub(crate) fn show(&mut self, state: &Arc<State>) {
        let feed = state.feed;
        self.states.insert(feed, Arc::clone(state));
        for key in self.audience_of(feed) {
            self.clients[key].owe(Owed::Feed(feed));
            self.pay(key);
        }
    }

    /// The connections that want a feed which is not replayed: also those that get a replay, and
    /// stand in no group yet.
    pub(super) fn audience_of(&self, feed: Feed) -> Vec<usize> {
        let groups = self.groups.of_feed(feed);
        let live = groups.flat_map(|group| self.groups.members(group)).copied();
        let replaying = |client: &Client| {
            client.stage == Stage::Replaying && client.interest.subscription.has_feed(feed)
        };
        live.chain(self.keys(replaying)).collect()
    }

    /// Shows a new connection what it wants of what there is.
    pub(super) fn show_first(&mut self, key: usize) {
        self.owe_more(key, None);
        self.pay(key);
    }

    /// Notes that a connection is to see what it wants and `before` did not want.
    pub(super) fn owe_more(&mut self, key: usize, before: Option<&Subscription>) {
        let client = &mut self.clients[key];
        for &feed in self.states.keys() {
            let had = before.is_some_and(|before| before.has_feed(feed));
            if !had && client.interest.subscription.has_feed(feed) {
                client.owe(Owed::Feed(feed));
            }
        }
        let interest = Rc::clone(&client.interest);
        for host in interest.subscription.watched_hosts() {
            let had = before.is_some_and(|before| before.watches(host));
            if !had && self.hosts.get(host).is_some_and(|of_host| of_host.newest.is_some()) {
                client.owe(Owed::Host(host.clone()));
            }
        }
    }

    /// Puts the states that a connection is to see into its queue, as far as there is room.
    pub(crate) fn pay(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.owed.is_empty() || client.gap.is_some() || !client.is_open() {
            return;
        }
        for owed in std::mem::take(&mut client.owed) {
            let Some(bytes) = self.find_owed(key, &owed) else { continue };
            if self.offer_state(key, bytes) {
                self.count_delivered(1);
            } else {
                self.clients[key].owe(owed);
            }
        }
    }

    /// Puts a state into a queue if there is room; gives whether there was. They may be many, and
    /// large: half of the queue is left to messages, so that nobody is slow for states alone.
    pub(super) fn offer_state(&mut self, key: usize, state: Bytes) -> bool {
        let Bounds { frames, bytes } = self.bounds;
        let half = Bounds { frames: frames / 2, bytes: bytes / 2 };
        let client = &mut self.clients[key];
        if !client.has_room(state.len(), 1, half) {
            client.flush();
        }
        client.has_room(state.len(), 1, half) && self.offer_beside(key, state, 1)
    }

    /// The newest of what a connection is to see, if it still wants it.
    fn find_owed(&self, key: usize, owed: &Owed) -> Option<Bytes> {
        let interest = &self.clients[key].interest;
        match owed {
            Owed::Feed(feed) => {
                let state = self.states.get(feed)?;
                let is_wanted = interest.subscription.has_feed(*feed);
                is_wanted.then(|| state.bytes(interest.encoding))
            }
            Owed::Host(host) => {
                let of_host = self.hosts.get(host).filter(|of_host| of_host.has(key))?;
                Some(of_host.newest.as_ref()?.bytes(interest.encoding))
            }
        }
    }
}

impl Client {
    /// Notes that it is to see the newest of something.
    pub(super) fn owe(&mut self, owed: Owed) {
        if !self.owed.contains(&owed) {
            self.owed.push(owed);
        }
    }
}
