//! The feeds, channels, videos and hosts that a connection subscribes to.

mod channel_filters;
mod names;
mod rights;

use std::collections::BTreeSet;

use mayfly_core::{Channel, Feed, Host, LiveEvent, frame::SubscriptionSet};

pub(crate) use self::{
    channel_filters::ChannelFilters,
    names::{NewSubscription, SubscriptionError, SubscriptionField, SubscriptionRequest},
    rights::{describe_forbidden, first_forbidden},
};
use self::{names::CheckedNames, rights::ChannelRights};

/// Maximum number of channels per connection. The same limit applies to videos and to hosts.
pub(crate) const CHANNELS_MAX: usize = 128;

/// The name that means all channels.
const ALL_CHANNELS: &str = "*";
/// Approximate memory that a stored name occupies in addition to its characters, in bytes.
pub(crate) const NAME_OVERHEAD_BYTES: usize = 64;
/// Number of copies of a channel name that the memory estimate includes: one in the subscription,
/// and one in the index of connection groups by channel.
const CHANNEL_COPIES: usize = 2;
/// Number of copies of a host name that the memory estimate includes: one in the subscription, one
/// in the watched hosts of the worker, and three in the host registry of the process.
const HOST_COPIES: usize = 5;

/// The channels of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channels {
    /// All channels, because the client has not named any. The first named channels replace this
    /// default.
    Default,
    /// All channels, as requested with `*`. Adding names does not narrow the subscription.
    All,
    /// The named channels.
    Some(BTreeSet<Channel>),
}

/// The videos of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Videos {
    /// All videos, because the client has not named any. The first named videos replace this
    /// default.
    All,
    /// The named videos.
    Some(BTreeSet<String>),
}

/// The complete subscription of a connection. Connections with equal subscriptions and the same
/// wire format share encoded frames.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscription {
    pub(crate) channels: Channels,
    pub(crate) feeds: BTreeSet<Feed>,
    pub(crate) videos: Videos,
    pub(crate) hosts: BTreeSet<Host>,
    /// The rights to the channels. A subscription receives no messages until it is restricted to
    /// the rights of an identity.
    rights: ChannelRights,
}

impl TryFrom<NewSubscription> for Subscription {
    type Error = SubscriptionError;

    fn try_from(names: NewSubscription) -> Result<Self, SubscriptionError> {
        let channels = names.channels.as_ref().map_or(Channels::Default, |_| Channels::none());
        let mut subscription = Self { channels, ..Self::none() };
        subscription.subscribe(SubscriptionRequest {
            channels: names.channels.unwrap_or_default(),
            feeds: names.feeds.unwrap_or_else(|| vec![Feed::Messages.as_str().to_owned()]),
            videos: names.videos,
            hosts: names.hosts,
        })?;
        Ok(subscription)
    }
}

impl Subscription {
    /// Returns a subscription to no feeds.
    pub(crate) fn none() -> Self {
        Self {
            channels: Channels::none(),
            feeds: BTreeSet::new(),
            videos: Videos::All,
            hosts: BTreeSet::new(),
            rights: ChannelRights::None,
        }
    }

    /// Adds names. After an error, the subscription may be partially changed and must be discarded.
    pub(crate) fn subscribe(
        &mut self,
        request: SubscriptionRequest,
    ) -> Result<(), SubscriptionError> {
        let names = CheckedNames::try_from(request)?;
        if names.all_channels {
            self.channels = Channels::All;
        } else if !names.channels.is_empty() {
            match &mut self.channels {
                Channels::Default => self.channels = Channels::Some(names.channels),
                Channels::All => {}
                Channels::Some(channels) => channels.extend(names.channels),
            }
        }
        if !names.videos.is_empty() {
            match &mut self.videos {
                Videos::All => self.videos = Videos::Some(names.videos),
                Videos::Some(videos) => videos.extend(names.videos),
            }
        }
        self.feeds.extend(names.feeds);
        self.hosts.extend(names.hosts);
        self.check_sizes()?;
        self.check_hosts()
    }

    /// Removes names. Ignores valid names that a set does not contain. An emptied set does not
    /// revert to its default. After an error, discard the subscription: it may be partly changed.
    pub(crate) fn unsubscribe(
        &mut self,
        request: SubscriptionRequest,
    ) -> Result<(), SubscriptionError> {
        let names = CheckedNames::try_from(request)?;
        match &mut self.channels {
            _ if names.all_channels => self.channels = Channels::none(),
            Channels::Some(channels) => channels.retain(|one| !names.channels.contains(one)),
            Channels::Default | Channels::All if names.channels.is_empty() => {}
            Channels::Default | Channels::All => {
                let rule = "cannot be removed from a subscription to all channels; \
                            unsubscribe from *, then subscribe to the channels to keep";
                let field = SubscriptionField::Channels;
                return Err(SubscriptionError::InvalidField { field, rule });
            }
        }
        match &mut self.videos {
            Videos::Some(videos) => videos.retain(|one| !names.videos.contains(one)),
            Videos::All if names.videos.is_empty() => {}
            Videos::All => {
                let rule = "cannot be removed from a subscription to all videos";
                let field = SubscriptionField::Videos;
                return Err(SubscriptionError::InvalidField { field, rule });
            }
        }
        self.feeds.retain(|one| !names.feeds.contains(one));
        self.hosts.retain(|one| !names.hosts.contains(one));
        self.check_hosts()
    }

    /// Returns the approximate memory that the names occupy, in bytes.
    pub(crate) fn names_bytes(&self) -> usize {
        let bytes = |name: &str| name.len() + NAME_OVERHEAD_BYTES;
        let channels: usize = self.channels.names().map(|name| bytes(name.as_str())).sum();
        let videos: usize = self.videos.names().map(|name| bytes(name)).sum();
        let hosts: usize = self.hosts.iter().map(|name| bytes(name.as_str())).sum();
        channels * CHANNEL_COPIES + videos + hosts * HOST_COPIES
    }

    pub(crate) fn has_feed(&self, feed: Feed) -> bool {
        self.feeds.contains(&feed)
    }

    /// Returns the hosts whose trends this subscription includes.
    pub(crate) fn watched_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|_| self.has_feed(Feed::Rising))
    }

    /// Returns whether this subscription includes the trends of a host.
    pub(crate) fn watches_host(&self, host: &Host) -> bool {
        self.has_feed(Feed::Rising) && self.hosts.contains(host)
    }

    pub(crate) fn has_messages(&self) -> bool {
        self.has_feed(Feed::Messages)
    }

    /// Returns whether this subscription includes a channel. `None` means that the channel is
    /// unknown, which only a subscription with the right to all channels includes.
    pub(crate) fn has_channel(&self, channel: Option<&str>) -> bool {
        match (&self.channels, channel) {
            (_, None) => self.has_unknown_channels(),
            (Channels::Default | Channels::All, Some(channel)) => self.rights.include(channel),
            (Channels::Some(channels), Some(channel)) => {
                self.rights != ChannelRights::None && channels.contains(channel)
            }
        }
    }

    /// Returns whether this subscription includes messages whose channel is unknown.
    pub(crate) fn has_unknown_channels(&self) -> bool {
        self.rights == ChannelRights::All
    }

    /// Returns whether this subscription includes every channel.
    pub(crate) fn has_every_channel(&self) -> bool {
        self.channels.is_all() && self.rights == ChannelRights::All
    }

    /// Returns the number of the channel filter if this subscription includes the channels that
    /// match the patterns of its rights.
    pub(crate) fn filter_number(&self) -> Option<u64> {
        self.rights.filter_number()
    }

    /// Returns whether this subscription includes any part of an event.
    pub(crate) fn has_event(&self, event: &LiveEvent) -> bool {
        self.has_messages()
            && match event {
                LiveEvent::Message { channel, .. } => self.has_channel(Some(channel)),
                LiveEvent::Expired(list) => {
                    list.iter().any(|one| self.has_channel(one.channel.as_deref()))
                }
            }
    }

    /// Returns the complete set of names, as sent to the client.
    pub(crate) fn to_set(&self) -> SubscriptionSet {
        SubscriptionSet {
            channels: match &self.channels {
                Channels::Default | Channels::All => vec![ALL_CHANNELS.to_owned()],
                Channels::Some(names) => {
                    names.iter().map(|name| name.as_str().to_owned()).collect()
                }
            },
            feeds: self.feeds.iter().map(|feed| feed.as_str()).collect(),
            videos: self.videos.names().cloned().collect(),
            hosts: self.hosts.iter().map(|host| host.as_str().to_owned()).collect(),
        }
    }

    fn check_hosts(&self) -> Result<(), SubscriptionError> {
        if self.feeds.contains(&Feed::Rising) && self.hosts.is_empty() {
            let rule = "must name at least one host for the `rising` feed";
            return Err(SubscriptionError::InvalidField { field: SubscriptionField::Hosts, rule });
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), SubscriptionError> {
        let sizes = [
            (SubscriptionField::Channels, self.channels.names().count()),
            (SubscriptionField::Videos, self.videos.names().count()),
            (SubscriptionField::Hosts, self.hosts.len()),
        ];
        match sizes.into_iter().find(|(_, size)| *size > CHANNELS_MAX) {
            Some((field, _)) => Err(SubscriptionError::TooMany(field)),
            None => Ok(()),
        }
    }
}

impl Channels {
    fn none() -> Self {
        Self::Some(BTreeSet::new())
    }

    /// Returns whether all channels are included that the rights allow.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::Default | Self::All)
    }

    /// Returns the named channels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Channel> {
        match self {
            Self::Default | Self::All => None,
            Self::Some(names) => Some(names),
        }
        .into_iter()
        .flatten()
    }
}

impl Videos {
    fn names(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::All => None,
            Self::Some(names) => Some(names),
        }
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use mayfly_auth::Identity;

    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn names(channels: &[&str]) -> SubscriptionRequest {
        SubscriptionRequest { channels: list(channels), ..SubscriptionRequest::default() }
    }

    fn open(channels: Option<&[&str]>) -> Result<Subscription, SubscriptionError> {
        let channels = channels.map(list);
        let names = NewSubscription { channels, ..NewSubscription::default() };
        let mut subscription = Subscription::try_from(names)?;
        subscription.restrict(&Identity::Open, &ChannelFilters::default());
        Ok(subscription)
    }

    #[test]
    fn named_channels_replace_the_default_and_their_removal_leaves_none() {
        let mut subscription = open(None).expect("valid names");
        assert!(subscription.has_channel(Some("any")) && subscription.has_messages());
        assert_eq!(subscription.to_set().channels, ["*"]);
        assert!(subscription.clone().unsubscribe(names(&["a"])).is_err());
        subscription.subscribe(names(&[])).expect("valid names");
        assert_eq!(subscription.to_set().channels, ["*"], "an empty list changes nothing");
        subscription.subscribe(names(&["b", "a"])).expect("valid names");
        assert_eq!(subscription.to_set().channels, ["a", "b"]);
        subscription.unsubscribe(names(&["a", "b", "c"])).expect("valid names");
        assert!(!subscription.has_channel(Some("a")));
        assert_eq!(subscription.to_set().channels, [""; 0]);
        subscription.subscribe(names(&[])).expect("valid names");
        assert_eq!(subscription.to_set().channels, [""; 0]);
    }

    #[test]
    fn empty_list_of_a_new_connection_means_no_channels() {
        let mut subscription = open(Some(&[])).expect("valid names");
        assert!(!subscription.has_channel(Some("a")) && subscription.has_messages());
        subscription.subscribe(names(&["a"])).expect("valid names");
        assert_eq!(subscription.to_set().channels, ["a"]);
    }

    #[test]
    fn asterisk_means_all_channels_until_it_is_removed() {
        for channels in [&["*"][..], &["a", "*"]] {
            let mut subscription = open(Some(channels)).expect("valid names");
            subscription.subscribe(names(&["b"])).expect("valid names");
            assert!(subscription.has_channel(Some("c")), "a name does not narrow *");
            subscription.unsubscribe(names(&["*"])).expect("valid names");
            assert_eq!(subscription.to_set().channels, [""; 0]);
        }
        let mut subscription = open(Some(&["a"])).expect("valid names");
        subscription.subscribe(names(&["*"])).expect("valid names");
        assert_eq!(subscription.to_set().channels, ["*"]);
        assert!(subscription.clone().unsubscribe(names(&["a"])).is_err());
        let mut subscription = open(Some(&["a", "b"])).expect("valid names");
        subscription.unsubscribe(names(&["*"])).expect("valid names");
        assert!(!subscription.has_channel(Some("a")));
    }

    #[test]
    fn named_videos_replace_the_default_and_their_removal_leaves_none() {
        let videos = |names: &[&str]| SubscriptionRequest {
            videos: list(names),
            ..SubscriptionRequest::default()
        };
        let mut subscription = open(None).expect("valid names");
        assert_eq!(subscription.videos, Videos::All);
        assert!(subscription.clone().unsubscribe(videos(&["b"])).is_err());
        subscription.subscribe(videos(&["*", "b"])).expect("valid names");
        assert_eq!(subscription.to_set().videos, ["*", "b"], "a video can have any name");
        subscription.unsubscribe(videos(&["*", "b"])).expect("valid names");
        assert_eq!(subscription.videos, Videos::Some(BTreeSet::new()));
    }

    #[test]
    fn too_many_or_invalid_names_are_rejected() {
        let many: Vec<_> = (0..=CHANNELS_MAX).map(|number| format!("c{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(open(Some(&many[1..])).is_ok());
        assert_eq!(open(Some(&many)), Err(SubscriptionError::TooMany(SubscriptionField::Channels)));
        assert!(open(Some(&["a b"])).is_err());
        let hosts = |names: &[&str]| {
            let subscription = Subscription::try_from(NewSubscription {
                feeds: Some(list(&["rising"])),
                hosts: list(names),
                ..NewSubscription::default()
            });
            subscription.map_err(|error| error.to_string())
        };
        assert!(hosts(&[]).is_err());
        let mut subscription = hosts(&["h"]).expect("valid names");
        let host = SubscriptionRequest { hosts: list(&["h"]), ..SubscriptionRequest::default() };
        assert!(subscription.unsubscribe(host).is_err());
        assert_eq!(hosts(&["h", "a/b"]).err(), Some(format!("hosts {}", Host::RULE)));
    }

    #[test]
    fn hosts_are_case_insensitive_and_watched_only_with_the_rising_feed() {
        let change = |feeds: &[&str], hosts: &[&str]| SubscriptionRequest {
            feeds: list(feeds),
            hosts: list(hosts),
            ..SubscriptionRequest::default()
        };
        let mut subscription = Subscription::none();
        let hosts = change(&["stats"], &["B.org", "a.org", "b.ORG"]);
        subscription.subscribe(hosts).expect("valid names");
        assert_eq!(subscription.to_set().hosts, ["a.org", "b.org"]);
        assert_eq!(subscription.watched_hosts().count(), 0);
        subscription.subscribe(change(&["rising"], &[])).expect("valid names");
        assert_eq!(subscription.watched_hosts().count(), 2);
        subscription.unsubscribe(change(&[], &["A.ORG"])).expect("valid names");
        assert_eq!(subscription.to_set().hosts, ["b.org"]);
    }

    #[test]
    fn memory_of_a_subscription_grows_with_its_names() {
        let mut subscription = open(None).expect("valid names");
        assert_eq!(subscription.names_bytes(), 0);
        subscription.subscribe(names(&["ab", "c"])).expect("valid names");
        assert_eq!(subscription.names_bytes(), (3 + 2 * NAME_OVERHEAD_BYTES) * CHANNEL_COPIES);
    }
}
