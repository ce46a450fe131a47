//! Connections that want the same share a group: what they get is put together once for all of them.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use slab::Slab;

use crate::{
    batch::{Audience, Batch, Encoding, Picked},
    subscription::{Channels, Feed, Subscription},
};

/// What the connections of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Interest {
    pub(crate) encoding: Encoding,
    pub(crate) subscription: Subscription,
}

/// The groups of one thread, by what they want.
#[derive(Default)]
pub(crate) struct Groups {
    all: Slab<Group>,
    by_interest: HashMap<Rc<Interest>, usize>,
    /// Groups that named this channel.
    by_channel: HashMap<Box<str>, HashSet<usize>>,
    /// Groups that want the messages of every channel.
    of_all: HashSet<usize>,
}

struct Group {
    interest: Rc<Interest>,
    /// Keys of connections.
    members: Vec<usize>,
}

/// Where a connection stands in the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    group: usize,
    index: usize,
}

impl Groups {
    /// Adds a connection, which from then on shares what it wants with the others of its group.
    pub(crate) fn join(&mut self, key: usize, interest: &mut Rc<Interest>) -> Place {
        let group = match self.by_interest.get(interest) {
            Some(&group) => group,
            None => self.create(interest),
        };
        let Group { members, interest: shared } = &mut self.all[group];
        *interest = Rc::clone(shared);
        members.push(key);
        Place { group, index: members.len() - 1 }
    }

    /// Takes a connection out; gives the one that is now at its place, if there is one.
    pub(crate) fn leave(&mut self, place: Place) -> Option<usize> {
        let members = &mut self.all[place.group].members;
        members.swap_remove(place.index);
        let moved = members.get(place.index).copied();
        if members.is_empty() {
            self.remove(place.group);
        }
        moved
    }

    /// The keys of the connections of a group.
    pub(crate) fn members(&self, group: usize) -> &[usize] {
        &self.all[group].members
    }

    /// What a group wants.
    pub(crate) fn interest(&self, group: usize) -> &Rc<Interest> {
        &self.all[group].interest
    }

    /// Which groups want frames of this kind.
    pub(crate) fn of_feed(&self, feed: Feed) -> impl Iterator<Item = usize> {
        let wants = move |(_, group): &(usize, &Group)| group.interest.subscription.has_feed(feed);
        self.all.iter().filter(wants).map(|(index, _)| index)
    }

    /// Which groups get something of a batch, and what.
    pub(crate) fn pick(&self, batch: &Batch) -> Vec<(usize, Picked)> {
        let mut picked: Vec<_> =
            self.of_all.iter().map(|&group| (group, Picked::From(0))).collect();
        if self.by_channel.is_empty() {
            return picked;
        }
        let mut named: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut add = |group: usize, entry: usize| {
            let entries = named.entry(group).or_default();
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        };
        for (entry, audience) in batch.audiences().enumerate() {
            match audience {
                Audience::Channel(channel) => {
                    self.of_channel(channel).for_each(|group| add(group, entry));
                }
                Audience::Expired(list) => {
                    let channels: HashSet<_> = list.iter().map(|one| &one.channel).collect();
                    for channel in channels {
                        match channel {
                            Some(channel) => {
                                self.of_channel(channel).for_each(|group| add(group, entry));
                            }
                            // Nobody knows whose it was: it is for all.
                            None => self.of_any_channel().for_each(|group| add(group, entry)),
                        }
                    }
                }
            }
        }
        picked.extend(named.into_iter().map(|(group, entries)| (group, Picked::Some(entries))));
        picked
    }

    fn of_channel(&self, channel: &str) -> impl Iterator<Item = usize> {
        self.by_channel.get(channel).into_iter().flatten().copied()
    }

    fn of_any_channel(&self) -> impl Iterator<Item = usize> {
        let named = |(_, group): &(usize, &Group)| {
            let subscription = &group.interest.subscription;
            subscription.has_messages() && matches!(subscription.channels, Channels::Some(_))
        };
        self.all.iter().filter(named).map(|(index, _)| index)
    }

    fn create(&mut self, interest: &Rc<Interest>) -> usize {
        let group = Group { interest: Rc::clone(interest), members: Vec::new() };
        let index = self.all.insert(group);
        self.by_interest.insert(Rc::clone(interest), index);
        if interest.subscription.has_messages() {
            match &interest.subscription.channels {
                Channels::All => {
                    self.of_all.insert(index);
                }
                Channels::Some(channels) => {
                    for channel in channels {
                        self.by_channel.entry(channel.as_str().into()).or_default().insert(index);
                    }
                }
            }
        }
        index
    }

    fn remove(&mut self, index: usize) {
        let group = self.all.remove(index);
        self.by_interest.remove(&group.interest);
        if let Channels::Some(channels) = &group.interest.subscription.channels {
            for channel in channels {
                if let Some(groups) = self.by_channel.get_mut(channel.as_str()) {
                    groups.remove(&index);
                    if groups.is_empty() {
                        self.by_channel.remove(channel.as_str());
                    }
                }
            }
        }
        self.of_all.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::{EntryId, LiveEntry, LiveEvent, Position};

    use super::*;
    use crate::subscription::Names;

    fn interest(channels: &[&str]) -> Rc<Interest> {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        let names = Names { channels, ..Names::default() };
        let subscription = Subscription::open(names).expect("sound names");
        Rc::new(Interest { encoding: Encoding::WebSocket, subscription })
    }

    fn batch(channels: &[&str]) -> Batch {
        let entry = |(millis, channel): (usize, &&str)| {
            let event = LiveEvent::Message { channel: (*channel).into(), json: "{}".into() };
            let id = EntryId { millis: millis as u64 + 1, number: 0 };
            LiveEntry { id, request_id: "".into(), event }
        };
        let entries: Vec<_> = channels.iter().enumerate().map(entry).collect();
        let end = entries.last().map_or(EntryId::START, |entry| entry.id);
        Batch::encode(Position::new("e", EntryId::START), end, entries)
    }

    #[test]
    fn connections_that_want_the_same_share_a_group() {
        let mut groups = Groups::default();
        let first = groups.join(7, &mut interest(&["a", "b"]));
        let second = groups.join(8, &mut interest(&["b", "a"]));
        let other = groups.join(9, &mut interest(&[]));
        assert_eq!(first.group, second.group);
        let mut picked = groups.pick(&batch(&["c", "b", "a"]));
        picked.sort_by_key(|(group, _)| *group);
        let expected = [(first.group, Picked::Some(vec![1, 2])), (other.group, Picked::From(0))];
        assert_eq!(picked, expected);
        assert_eq!(groups.members(first.group), [7, 8]);
        assert_eq!(groups.leave(first), Some(8));
        assert_eq!(groups.leave(Place { group: first.group, index: 0 }), None);
        assert_eq!(groups.leave(other), None);
        assert!(groups.by_channel.is_empty() && groups.by_interest.is_empty());
        assert!(groups.of_all.is_empty() && groups.all.is_empty());
    }
}
