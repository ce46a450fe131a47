//! Showing state: what counts is the newest, therefore what has no room waits beside the queue, and
//! is not told as a gap.

use std::sync::Arc;

use super::Shard;
use crate::{
    client::{Client, Stage},
    state::State,
    subscription::{Feed, Subscription},
};

impl Shard {
    /// Keeps the newest state of a feed, and shows it to everybody who wants it.
    pub(crate) fn show(&mut self, state: &Arc<State>) {
        let feed = state.feed;
        self.states.insert(feed, Arc::clone(state));
        for key in self.audience_of(feed) {
            self.clients[key].owe(feed);
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
                client.owe(feed);
            }
        }
    }

    /// Puts the states that a connection is to see into its queue, as far as there is room.
    pub(crate) fn pay(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.owed.is_empty() || client.gap.is_some() || !client.is_open() {
            return;
        }
        for feed in std::mem::take(&mut client.owed) {
            let client = &mut self.clients[key];
            let Some(state) = self.states.get(&feed) else { continue };
            if !client.interest.subscription.has_feed(feed) {
                continue;
            }
            let bytes = state.bytes(client.interest.encoding);
            if self.offer_beside(key, bytes, 1) {
                self.count_delivered(1);
            } else {
                self.clients[key].owe(feed);
            }
        }
    }
}

impl Client {
    /// Notes that it is to see the newest state of a feed.
    fn owe(&mut self, feed: Feed) {
        if !self.owed.contains(&feed) {
            self.owed.push(feed);
        }
    }
}
