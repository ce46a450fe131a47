//! The feeds, channels, videos and hosts that a connection subscribes to.

use std::collections::BTreeSet;

use mayfly_core::{Channel, Feed, Host, LiveEvent, frame::SubscriptionSet};
use serde::Deserialize;

/// Maximum number of channels, of videos and of hosts of a connection.
pub(crate) const CHANNELS_MAX: usize = 128;
/// Maximum length of a video ID, in characters.
const VIDEO_CHARS_MAX: usize = 128;

/// The channels of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channels {
    /// Every channel.
    All,
    /// The named channels.
    Some(BTreeSet<Channel>),
}

/// The complete subscription of a connection. Connections with equal subscriptions share their
/// encoded frames.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscription {
    pub(crate) channels: Channels,
    pub(crate) feeds: BTreeSet<Feed>,
    pub(crate) videos: BTreeSet<String>,
    pub(crate) hosts: BTreeSet<Host>,
}

/// Unchecked names from a query or a client frame.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SubscriptionRequest {
    pub(crate) channels: Vec<String>,
    pub(crate) feeds: Vec<String>,
    pub(crate) videos: Vec<String>,
    pub(crate) hosts: Vec<String>,
}

/// A field of a [`SubscriptionRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionField {
    Channels,
    Feeds,
    Videos,
    Hosts,
}

impl SubscriptionField {
    /// Returns the name in a client frame.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Feeds => "feeds",
            Self::Videos => "videos",
            Self::Hosts => "hosts",
        }
    }

    /// Returns the name of the query parameter, which is given once per entry.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Channels => "channel",
            Self::Feeds => "feed",
            Self::Videos => "video",
            Self::Hosts => "host",
        }
    }
}

/// The reason why a [`SubscriptionRequest`] is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionError {
    /// A name violates its rule.
    #[error("{} {rule}", .field.name())]
    InvalidField {
        field: SubscriptionField,
        /// The rule, phrased to follow the name of the field.
        rule: &'static str,
    },
    /// A field has more names than a connection may have.
    #[error("{} must have at most {CHANNELS_MAX} entries", .0.name())]
    TooMany(SubscriptionField),
}

/// Creates the subscription of a new connection. The default is all channels and the feed
/// `messages`.
impl TryFrom<SubscriptionRequest> for Subscription {
    type Error = SubscriptionError;

    fn try_from(request: SubscriptionRequest) -> Result<Self, SubscriptionError> {
        let mut subscription = Self {
            channels: Channels::All,
            feeds: BTreeSet::new(),
            videos: BTreeSet::new(),
            hosts: BTreeSet::new(),
        };
        if request.feeds.is_empty() {
            subscription.feeds.insert(Feed::Messages);
        }
        subscription.subscribe(request)?;
        Ok(subscription)
    }
}

impl Subscription {
    /// Adds names. After an error, the subscription must be discarded.
    pub(crate) fn subscribe(
        &mut self,
        request: SubscriptionRequest,
    ) -> Result<(), SubscriptionError> {
        let names = CheckedNames::try_from(request)?;
        if !names.channels.is_empty() {
            match &mut self.channels {
                Channels::All => self.channels = Channels::Some(names.channels),
                Channels::Some(channels) => channels.extend(names.channels),
            }
        }
        self.feeds.extend(names.feeds);
        self.videos.extend(names.videos);
        self.hosts.extend(names.hosts);
        self.check_sizes()?;
        self.check_hosts()
    }

    /// Removes names; names that are not subscribed are ignored. After an error, the subscription
    /// must be discarded.
    pub(crate) fn unsubscribe(
        &mut self,
        request: SubscriptionRequest,
    ) -> Result<(), SubscriptionError> {
        let names = CheckedNames::try_from(request)?;
        match &mut self.channels {
            Channels::All if !names.channels.is_empty() => {
                let rule = "cannot be removed while all channels are subscribed; \
                            subscribe to channels by name first";
                let field = SubscriptionField::Channels;
                return Err(SubscriptionError::InvalidField { field, rule });
            }
            Channels::All => {}
            Channels::Some(channels) => channels.retain(|one| !names.channels.contains(one)),
        }
        self.feeds.retain(|one| !names.feeds.contains(one));
        self.videos.retain(|one| !names.videos.contains(one));
        self.hosts.retain(|one| !names.hosts.contains(one));
        self.check_hosts()
    }

    pub(crate) fn has_feed(&self, feed: Feed) -> bool {
        self.feeds.contains(&feed)
    }

    /// Returns the hosts whose trends are subscribed.
    pub(crate) fn watched_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|_| self.has_feed(Feed::Rising))
    }

    /// Returns whether the trends of a host are subscribed.
    pub(crate) fn watches_host(&self, host: &Host) -> bool {
        self.has_feed(Feed::Rising) && self.hosts.contains(host)
    }

    pub(crate) fn has_messages(&self) -> bool {
        self.has_feed(Feed::Messages)
    }

    /// Returns whether this subscription includes `channel`. Messages whose channel is unknown are
    /// sent to everyone.
    pub(crate) fn has_channel(&self, channel: Option<&str>) -> bool {
        match (&self.channels, channel) {
            (Channels::All, _) | (_, None) => true,
            (Channels::Some(channels), Some(channel)) => channels.contains(channel),
        }
    }

    /// Returns whether any part of an event is subscribed.
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
                Channels::All => vec!["*".to_owned()],
                Channels::Some(names) => {
                    names.iter().map(|name| name.as_str().to_owned()).collect()
                }
            },
            feeds: self.feeds.iter().map(|feed| feed.as_str()).collect(),
            videos: self.videos.iter().cloned().collect(),
            hosts: self.hosts.iter().map(|host| host.as_str().to_owned()).collect(),
        }
    }

    fn check_hosts(&self) -> Result<(), SubscriptionError> {
        if self.feeds.contains(&Feed::Rising) && self.hosts.is_empty() {
            let rule = "must name at least one host for the feed rising";
            return Err(SubscriptionError::InvalidField { field: SubscriptionField::Hosts, rule });
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), SubscriptionError> {
        let channels = match &self.channels {
            Channels::All => 0,
            Channels::Some(channels) => channels.len(),
        };
        let sizes = [
            (SubscriptionField::Channels, channels),
            (SubscriptionField::Videos, self.videos.len()),
            (SubscriptionField::Hosts, self.hosts.len()),
        ];
        match sizes.into_iter().find(|(_, size)| *size > CHANNELS_MAX) {
            Some((field, _)) => Err(SubscriptionError::TooMany(field)),
            None => Ok(()),
        }
    }
}

/// Names that follow their rules.
struct CheckedNames {
    channels: BTreeSet<Channel>,
    feeds: BTreeSet<Feed>,
    videos: BTreeSet<String>,
    hosts: BTreeSet<Host>,
}

impl TryFrom<SubscriptionRequest> for CheckedNames {
    type Error = SubscriptionError;

    fn try_from(request: SubscriptionRequest) -> Result<Self, SubscriptionError> {
        let invalid = |field, rule| SubscriptionError::InvalidField { field, rule };
        let channels = request.channels.into_iter().map(Channel::parse).collect::<Result<_, _>>();
        let feeds = request.feeds.iter().map(|name| Feed::parse(name)).collect::<Result<_, _>>();
        let videos = check_video_ids(request.videos);
        let hosts = request.hosts.into_iter().map(Host::parse).collect::<Result<_, _>>();
        Ok(Self {
            channels: channels.map_err(|rule| invalid(SubscriptionField::Channels, rule))?,
            feeds: feeds.map_err(|rule| invalid(SubscriptionField::Feeds, rule))?,
            videos: videos
                .ok_or(invalid(SubscriptionField::Videos, "must have 1 to 128 characters each"))?,
            hosts: hosts.map_err(|rule| invalid(SubscriptionField::Hosts, rule))?,
        })
    }
}

fn check_video_ids(ids: Vec<String>) -> Option<BTreeSet<String>> {
    let is_valid = |id: &String| (1..=VIDEO_CHARS_MAX).contains(&id.chars().count());
    ids.into_iter().map(|id| is_valid(&id).then_some(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(channels: &[&str]) -> SubscriptionRequest {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        SubscriptionRequest { channels, ..SubscriptionRequest::default() }
    }

    #[test]
    fn all_channels_until_some_are_named_and_none_after_unsubscribing_from_them() {
        let mut subscription =
            Subscription::try_from(SubscriptionRequest::default()).expect("valid names");
        assert!(subscription.has_channel(Some("any")) && subscription.has_messages());
        assert_eq!(subscription.to_set().channels, ["*"]);
        assert!(subscription.clone().unsubscribe(names(&["a"])).is_err());
        subscription.subscribe(names(&["b", "a"])).expect("valid names");
        assert_eq!(subscription.to_set().channels, ["a", "b"]);
        subscription.unsubscribe(names(&["a", "b", "c"])).expect("valid names");
        assert!(!subscription.has_channel(Some("a")));
        assert_eq!(subscription.to_set().channels, [""; 0]);
    }

    #[test]
    fn too_many_or_invalid_names_are_rejected() {
        let many: Vec<_> = (0..=CHANNELS_MAX).map(|number| format!("c{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(Subscription::try_from(names(&many[1..])).is_ok());
        assert_eq!(
            Subscription::try_from(names(&many)),
            Err(SubscriptionError::TooMany(SubscriptionField::Channels))
        );
        assert!(Subscription::try_from(names(&["a b"])).is_err());
        let rising = |hosts: &[&str]| SubscriptionRequest {
            feeds: vec!["rising".into()],
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..SubscriptionRequest::default()
        };
        assert!(Subscription::try_from(rising(&[])).is_err());
        let mut subscription = Subscription::try_from(rising(&["h"])).expect("valid names");
        assert!(
            subscription
                .unsubscribe(SubscriptionRequest { feeds: vec![], ..rising(&["h"]) })
                .is_err()
        );
        let invalid =
            Subscription::try_from(rising(&["h", "a/b"])).map_err(|error| error.to_string());
        assert_eq!(invalid.err(), Some(format!("hosts {}", Host::RULE)));
    }

    #[test]
    fn hosts_are_case_insensitive_and_watched_only_with_the_feed_rising() {
        let names = |feeds: &[&str], hosts: &[&str]| SubscriptionRequest {
            feeds: feeds.iter().map(|&feed| feed.to_owned()).collect(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..SubscriptionRequest::default()
        };
        let mut subscription =
            Subscription::try_from(names(&["stats"], &["B.org", "a.org", "b.ORG"]))
                .expect("valid names");
        assert_eq!(subscription.to_set().hosts, ["a.org", "b.org"]);
        assert_eq!(subscription.watched_hosts().count(), 0);
        subscription.subscribe(names(&["rising"], &[])).expect("valid names");
        assert_eq!(subscription.watched_hosts().count(), 2);
        subscription.unsubscribe(names(&[], &["A.ORG"])).expect("valid names");
        assert_eq!(subscription.to_set().hosts, ["b.org"]);
    }
}
