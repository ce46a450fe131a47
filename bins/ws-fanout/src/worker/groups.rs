//! Groups of connections with the same encoding and subscription. A worker selects frames once per
//! group.

use std::{
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    rc::Rc,
};

use mayfly_core::Feed;
use slab::Slab;

use crate::{
    frames::{Audience, Batch, Encoding, EntrySet},
    hub::{ConnectionMemory, Reservation},
    subscription::{ChannelFilters, Subscription},
};

/// The properties that all connections in a group share.
pub(crate) struct GroupKey {
    pub(crate) encoding: Encoding,
    pub(crate) subscription: Subscription,
    /// The memory reservation for the names in the subscription.
    names: Reservation,
}

impl GroupKey {
    pub(crate) fn new(
        encoding: Encoding,
        subscription: Subscription,
        memory: &ConnectionMemory,
    ) -> Self {
        let mut names = memory.reserve();
        names.set(subscription.names_bytes());
        Self { encoding, subscription, names }
    }

    /// Returns the memory that is reserved for the names in the subscription, in bytes.
    pub(crate) fn names_bytes(&self) -> usize {
        self.names.bytes()
    }
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding && self.subscription == other.subscription
    }
}

impl Eq for GroupKey {}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.encoding.hash(state);
        self.subscription.hash(state);
    }
}

/// The groups of one worker.
#[derive(Default)]
pub(crate) struct Groups {
    all: Slab<Group>,
    by_key: HashMap<Rc<GroupKey>, usize>,
    /// The groups that subscribe to each named channel.
    by_channel: HashMap<Box<str>, HashSet<usize>>,
    /// The groups that receive the messages in all channels.
    all_channels: HashSet<usize>,
    /// The groups that receive the messages in the channels that match a filter, by the number of
    /// the filter.
    by_filter: HashMap<u64, HashSet<usize>>,
    filters: ChannelFilters,
}

struct Group {
    key: Rc<GroupKey>,
    /// Keys of the connections in the group.
    members: Vec<usize>,
}

/// The slot of a connection in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupSlot {
    group: usize,
    index: usize,
}

impl Groups {
    /// Adds a connection to its group and replaces `group_key` with the shared key of the group.
    pub(crate) fn join(&mut self, connection: usize, group_key: &mut Rc<GroupKey>) -> GroupSlot {
        let group = match self.by_key.get(group_key) {
            Some(&group) => group,
            None => self.create(group_key),
        };
        let Group { members, key } = &mut self.all[group];
        *group_key = Rc::clone(key);
        members.push(connection);
        GroupSlot { group, index: members.len() - 1 }
    }

    /// Removes the connection in a slot, and removes the group if it becomes empty. Returns the
    /// connection that moved into the slot, if any.
    pub(crate) fn leave(&mut self, slot: GroupSlot) -> Option<usize> {
        let members = &mut self.all[slot.group].members;
        members.swap_remove(slot.index);
        let moved = members.get(slot.index).copied();
        if members.is_empty() {
            self.remove(slot.group);
        }
        moved
    }

    /// Returns the keys of the connections in a group.
    pub(crate) fn members(&self, group: usize) -> &[usize] {
        &self.all[group].members
    }

    pub(crate) fn key(&self, group: usize) -> &GroupKey {
        &self.all[group].key
    }

    /// Returns the groups that subscribe to a feed.
    pub(crate) fn with_feed(&self, feed: Feed) -> impl Iterator<Item = usize> {
        let has_feed = move |(_, group): &(usize, &Group)| group.key.subscription.has_feed(feed);
        self.all.iter().filter(has_feed).map(|(index, _)| index)
    }

    /// Returns the channel filters of the groups.
    pub(crate) fn filters(&self) -> &ChannelFilters {
        &self.filters
    }

    /// Returns the groups that receive entries in a batch, with the entries for each group.
    pub(crate) fn match_batch(&self, batch: &Batch) -> Vec<(usize, EntrySet)> {
        let mut matches: Vec<_> =
            self.all_channels.iter().map(|&group| (group, EntrySet::From(0))).collect();
        if self.all_channels.len() == self.all.len() {
            return matches;
        }
        let mut indices_by_group: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut add = |group: usize, entry: usize| {
            let indices = indices_by_group.entry(group).or_default();
            if indices.last() != Some(&entry) {
                indices.push(entry);
            }
        };
        for (entry, audience) in batch.audiences().enumerate() {
            match audience {
                Audience::Channel(channel) => {
                    self.for_each_with_channel(channel, |group| add(group, entry));
                }
                Audience::Expired(list) => {
                    let channels: HashSet<_> = list.iter().map(|one| &one.channel).collect();
                    for channel in channels {
                        match channel {
                            Some(channel) => {
                                self.for_each_with_channel(channel, |group| add(group, entry));
                            }
                            // Groups that subscribe to all channels are already in `matches`.
                            None => {
                                self.with_unknown_channels().for_each(|group| add(group, entry));
                            }
                        }
                    }
                }
            }
        }
        let indices = indices_by_group.into_iter();
        matches.extend(indices.map(|(group, indices)| (group, EntrySet::Indices(indices))));
        matches
    }

    /// Calls `handle` with each group that receives the messages in a channel, except the groups
    /// that receive the messages in all channels.
    fn for_each_with_channel(&self, channel: &str, mut handle: impl FnMut(usize)) {
        self.by_channel.get(channel).into_iter().flatten().copied().for_each(&mut handle);
        if !self.by_filter.is_empty() {
            self.filters.for_each_match(channel, |filter| {
                self.by_filter.get(&filter).into_iter().flatten().copied().for_each(&mut handle);
            });
        }
    }

    /// Returns the groups that receive expired messages with an unknown channel, except the groups
    /// that receive the messages in all channels. Their set of channels can be empty.
    fn with_unknown_channels(&self) -> impl Iterator<Item = usize> {
        let is_included = |(_, group): &(usize, &Group)| {
            let subscription = &group.key.subscription;
            subscription.has_messages()
                && subscription.has_unknown_channels()
                && !subscription.has_every_channel()
        };
        self.all.iter().filter(is_included).map(|(index, _)| index)
    }

    fn create(&mut self, key: &Rc<GroupKey>) -> usize {
        let group = Group { key: Rc::clone(key), members: Vec::new() };
        let index = self.all.insert(group);
        self.by_key.insert(Rc::clone(key), index);
        if key.subscription.has_messages() {
            if key.subscription.has_every_channel() {
                self.all_channels.insert(index);
            }
            if let Some(filter) = key.subscription.filter_number() {
                self.by_filter.entry(filter).or_default().insert(index);
            }
            for channel in key.subscription.channels.names() {
                self.by_channel.entry(channel.as_str().into()).or_default().insert(index);
            }
        }
        index
    }

    fn remove(&mut self, index: usize) {
        let group = self.all.remove(index);
        self.by_key.remove(&group.key);
        for channel in group.key.subscription.channels.names() {
            if let Some(groups) = self.by_channel.get_mut(channel.as_str()) {
                groups.remove(&index);
                if groups.is_empty() {
                    self.by_channel.remove(channel.as_str());
                }
            }
        }
        if let Some(filter) = group.key.subscription.filter_number()
            && let Some(groups) = self.by_filter.get_mut(&filter)
        {
            groups.remove(&index);
            if groups.is_empty() {
                self.by_filter.remove(&filter);
            }
        }
        self.all_channels.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Identity, Key, KeyLimits, Names, Scope, Scopes};
    use mayfly_core::{EntryId, ExpiredMessage, LiveEntry, LiveEvent, MessageId, Position};
    use uuid::Uuid;

    use super::*;
    use crate::subscription::NewSubscription;

    fn group_key(channels: &[&str]) -> Rc<GroupKey> {
        let names: Vec<_> = channels.iter().map(|&name| name.to_owned()).collect();
        let channels = (!names.is_empty()).then_some(names);
        restricted_key(channels, &Identity::Open, &ChannelFilters::default())
    }

    fn restricted_key(
        channels: Option<Vec<String>>,
        identity: &Identity,
        filters: &ChannelFilters,
    ) -> Rc<GroupKey> {
        let names = NewSubscription { channels, ..NewSubscription::default() };
        let mut subscription = Subscription::try_from(names).expect("valid names");
        subscription.restrict(identity, filters);
        Rc::new(GroupKey::new(Encoding::WebSocket, subscription, &ConnectionMemory::new(0)))
    }

    /// Returns the identity of a key for channels that match these patterns.
    fn key_for(patterns: &[&str]) -> Identity {
        Identity::Key(Arc::new(Key {
            id: Uuid::nil(),
            scopes: Scopes::from_iter([Scope::Subscribe]),
            channels: Names::parse(patterns.iter().copied()).expect("valid patterns"),
            usernames: Names::All,
            hosts: Names::All,
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }))
    }

    fn batch(channels: &[&str]) -> Batch {
        let entry = |(millis, channel): (usize, &&str)| {
            let event = LiveEvent::Message { channel: (*channel).into(), json: "{}".into() };
            let id = EntryId { millis: millis as u64 + 1, number: 0 };
            LiveEntry { id, request_id: "".into(), event }
        };
        let entries: Vec<_> = channels.iter().enumerate().map(entry).collect();
        let end = entries.last().map_or(EntryId::START, |entry| entry.id);
        let memory = ConnectionMemory::new(0);
        Batch::encode(Position::new("e", EntryId::START), end, entries, &memory)
    }

    #[test]
    fn connections_with_the_same_subscription_share_a_group() {
        let mut groups = Groups::default();
        let first = groups.join(7, &mut group_key(&["a", "b"]));
        let second = groups.join(8, &mut group_key(&["b", "a"]));
        let other = groups.join(9, &mut group_key(&[]));
        assert_eq!(first.group, second.group);
        let mut matches = groups.match_batch(&batch(&["c", "b", "a"]));
        matches.sort_by_key(|(group, _)| *group);
        let expected =
            [(first.group, EntrySet::Indices(vec![1, 2])), (other.group, EntrySet::From(0))];
        assert_eq!(matches, expected);
        assert_eq!(groups.members(first.group), [7, 8]);
        assert_eq!(groups.leave(first), Some(8));
        assert_eq!(groups.leave(GroupSlot { group: first.group, index: 0 }), None);
        assert_eq!(groups.leave(other), None);
        assert!(groups.by_channel.is_empty() && groups.by_key.is_empty());
        assert!(groups.all_channels.is_empty() && groups.all.is_empty());
    }

    #[test]
    fn group_without_channels_receives_expired_messages_with_an_unknown_channel() {
        let mut groups = Groups::default();
        let memory = ConnectionMemory::new(0);
        let none = |identity: &Identity, groups: &Groups| {
            restricted_key(Some(Vec::new()), identity, groups.filters())
        };
        let slot = groups.join(7, &mut none(&Identity::Open, &groups));
        // The channel may be one that these credentials do not allow.
        groups.join(8, &mut none(&key_for(&["chat.*"]), &groups));
        let expired = ExpiredMessage { id: MessageId::from(Uuid::nil()), channel: None };
        let id = EntryId { millis: 1, number: 0 };
        let entry =
            LiveEntry { id, request_id: "".into(), event: LiveEvent::Expired(vec![expired]) };
        let batch = Batch::encode(Position::new("e", EntryId::START), id, vec![entry], &memory);
        assert_eq!(groups.match_batch(&batch), [(slot.group, EntrySet::Indices(vec![0]))]);
    }

    #[test]
    fn connections_to_all_channels_receive_the_channels_that_match_their_patterns() {
        let mut groups = Groups::default();
        let mut join = |connection: usize, patterns: &[&str]| {
            let mut key = restricted_key(None, &key_for(patterns), groups.filters());
            groups.join(connection, &mut key)
        };
        let chat = join(1, &["chat.*", "lobby"]);
        let same = join(2, &["lobby", "chat.*"]);
        let lobby = join(3, &["lobby"]);
        let nothing = join(4, &["x"]);
        assert_eq!(chat.group, same.group, "equal patterns share a group");
        let mut matches = groups.match_batch(&batch(&["chat.a", "lobby", "news", "chat.a"]));
        matches.sort_by_key(|(group, _)| *group);
        let expected = [
            (chat.group, EntrySet::Indices(vec![0, 1, 3])),
            (lobby.group, EntrySet::Indices(vec![1])),
        ];
        assert_eq!(matches, expected);
        for slot in [same, chat, lobby, nothing] {
            assert_eq!(groups.leave(slot), None);
        }
        assert!(groups.by_filter.is_empty() && groups.all.is_empty());
        assert!(groups.match_batch(&batch(&["chat.a"])).is_empty());
    }

    #[test]
    fn connections_to_named_channels_share_a_group_whatever_patterns_allow_them() {
        let mut groups = Groups::default();
        let channels = Some(vec!["chat.a".to_owned()]);
        let mut join = |connection: usize, patterns: &[&str]| {
            let identity = key_for(patterns);
            let mut key = restricted_key(channels.clone(), &identity, groups.filters());
            groups.join(connection, &mut key).group
        };
        assert_eq!(join(1, &["chat.*"]), join(2, &["chat.a", "user.7"]));
    }
}
