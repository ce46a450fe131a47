//! What a connection wants to see.

use std::collections::BTreeSet;

use mayfly_core::{Channel, Host, LiveEvent, frame::SubscribedTo};
use serde::Deserialize;

/// Channels of one connection; videos and hosts likewise.
pub(crate) const CHANNELS_MAX: usize = 128;
/// Characters of the id of a video.
const VIDEO_CHARS_MAX: usize = 128;

/// A kind of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Feed {
    Messages,
    Plays,
    Pulse,
    Rising,
    Stats,
}

impl Feed {
    pub(crate) const ALL: [Self; 5] =
        [Self::Messages, Self::Plays, Self::Pulse, Self::Rising, Self::Stats];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Plays => "plays",
            Self::Pulse => "pulse",
            Self::Rising => "rising",
            Self::Stats => "stats",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feed| feed.as_str() == text)
    }
}

/// The channels of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channels {
    /// Whatever there is.
    All,
    /// These.
    Some(BTreeSet<Channel>),
}

/// Everything that a connection wants to see. Connections that want the same share what is made
/// for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscription {
    pub(crate) channels: Channels,
    pub(crate) feeds: BTreeSet<Feed>,
    pub(crate) videos: BTreeSet<String>,
    pub(crate) hosts: BTreeSet<Host>,
}

/// Names as a client writes them, in a query or in a frame.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Names {
    pub(crate) channels: Vec<String>,
    pub(crate) feeds: Vec<String>,
    pub(crate) videos: Vec<String>,
    pub(crate) hosts: Vec<String>,
}

/// What is wrong with names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadNames {
    /// A name does not follow its rule.
    #[error("{field} {rule}")]
    Field {
        /// Which kind of name.
        field: &'static str,
        /// The rule, as a sentence that follows it.
        rule: &'static str,
    },
    /// More than a connection may have.
    #[error("{0} must be at most {CHANNELS_MAX}")]
    TooMany(&'static str),
}

impl Subscription {
    /// What a new connection wants, by the names in its query: without channels all, without feeds
    /// messages.
    pub(crate) fn open(names: Names) -> Result<Self, BadNames> {
        let mut subscription = Self {
            channels: Channels::All,
            feeds: BTreeSet::new(),
            videos: BTreeSet::new(),
            hosts: BTreeSet::new(),
        };
        if names.feeds.is_empty() {
            subscription.feeds.insert(Feed::Messages);
        }
        subscription.subscribe(names)?;
        Ok(subscription)
    }

    /// Adds names; if one of them is wrong, nothing is to be kept of it.
    pub(crate) fn subscribe(&mut self, names: Names) -> Result<(), BadNames> {
        let names = Checked::of(names)?;
        if !names.channels.is_empty() {
            match &mut self.channels {
                Channels::All => self.channels = Channels::Some(names.channels),
                Channels::Some(channels) => channels.extend(names.channels),
            }
        }
        self.feeds.extend(names.feeds);
        self.videos.extend(names.videos);
        self.hosts.extend(names.hosts);
        self.check_size()?;
        self.check_rising()
    }

    /// Takes names away; what is not subscribed is no error.
    pub(crate) fn unsubscribe(&mut self, names: Names) -> Result<(), BadNames> {
        let names = Checked::of(names)?;
        match &mut self.channels {
            Channels::All if !names.channels.is_empty() => {
                let rule = "can only be left one by one after some were subscribed by name";
                return Err(BadNames::Field { field: "channels", rule });
            }
            Channels::All => {}
            Channels::Some(channels) => channels.retain(|one| !names.channels.contains(one)),
        }
        self.feeds.retain(|one| !names.feeds.contains(one));
        self.videos.retain(|one| !names.videos.contains(one));
        self.hosts.retain(|one| !names.hosts.contains(one));
        self.check_rising()
    }

    /// Whether frames of this kind are wanted.
    pub(crate) fn has_feed(&self, feed: Feed) -> bool {
        self.feeds.contains(&feed)
    }

    /// The hosts of which is wanted what rises.
    pub(crate) fn watched_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|_| self.has_feed(Feed::Rising))
    }

    /// Whether what rises on a host is wanted.
    pub(crate) fn watches(&self, host: &Host) -> bool {
        self.has_feed(Feed::Rising) && self.hosts.contains(host)
    }

    /// Whether messages are wanted at all.
    pub(crate) fn has_messages(&self) -> bool {
        self.has_feed(Feed::Messages)
    }

    /// Whether messages of a channel are wanted; those of nobody knows which are for all.
    pub(crate) fn has_channel(&self, channel: Option<&str>) -> bool {
        match (&self.channels, channel) {
            (Channels::All, _) | (_, None) => true,
            (Channels::Some(channels), Some(channel)) => channels.contains(channel),
        }
    }

    /// Whether anything of an event is wanted.
    pub(crate) fn wants(&self, event: &LiveEvent) -> bool {
        self.has_messages()
            && match event {
                LiveEvent::Message { channel, .. } => self.has_channel(Some(channel)),
                LiveEvent::Expired(list) => {
                    list.iter().any(|one| self.has_channel(one.channel.as_deref()))
                }
            }
    }

    /// All names, for the client that asked.
    pub(crate) fn to_names(&self) -> SubscribedTo {
        SubscribedTo {
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

    fn check_rising(&self) -> Result<(), BadNames> {
        if self.feeds.contains(&Feed::Rising) && self.hosts.is_empty() {
            return Err(BadNames::Field { field: "hosts", rule: "must name a host for rising" });
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), BadNames> {
        let channels = match &self.channels {
            Channels::All => 0,
            Channels::Some(channels) => channels.len(),
        };
        let sizes =
            [("channels", channels), ("videos", self.videos.len()), ("hosts", self.hosts.len())];
        match sizes.into_iter().find(|(_, size)| *size > CHANNELS_MAX) {
            Some((field, _)) => Err(BadNames::TooMany(field)),
            None => Ok(()),
        }
    }
}

/// Names that follow their rules.
struct Checked {
    channels: BTreeSet<Channel>,
    feeds: BTreeSet<Feed>,
    videos: BTreeSet<String>,
    hosts: BTreeSet<Host>,
}

impl Checked {
    fn of(names: Names) -> Result<Self, BadNames> {
        let wrong = |field, rule| move |()| BadNames::Field { field, rule };
        let channels = names.channels.into_iter().map(Channel::parse).collect::<Result<_, _>>();
        let hosts = names.hosts.into_iter().map(Host::parse).collect::<Result<_, _>>();
        let feeds =
            names.feeds.iter().map(|name| Feed::parse(name).ok_or(())).collect::<Result<_, _>>();
        Ok(Self {
            channels: channels.map_err(|rule| BadNames::Field { field: "channels", rule })?,
            feeds: feeds
                .map_err(wrong("feeds", "must be messages, plays, rising, stats or pulse"))?,
            videos: check_texts(names.videos, VIDEO_CHARS_MAX)
                .map_err(wrong("videos", "must be of 1 to 128 characters"))?,
            hosts: hosts.map_err(|rule| BadNames::Field { field: "hosts", rule })?,
        })
    }
}

fn check_texts(names: Vec<String>, chars_max: usize) -> Result<BTreeSet<String>, ()> {
    let sound = |name: &String| (1..=chars_max).contains(&name.chars().count());
    names.into_iter().map(|name| if sound(&name) { Ok(name) } else { Err(()) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(channels: &[&str]) -> Names {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        Names { channels, ..Names::default() }
    }

    #[test]
    fn all_channels_until_some_are_named_and_none_when_they_are_left() {
        let mut one = Subscription::open(Names::default()).expect("sound names");
        assert!(one.has_channel(Some("any")) && one.has_messages());
        assert_eq!(one.to_names().channels, ["*"]);
        assert!(one.clone().unsubscribe(names(&["a"])).is_err());
        one.subscribe(names(&["b", "a"])).expect("sound names");
        assert_eq!(one.to_names().channels, ["a", "b"]);
        one.unsubscribe(names(&["a", "b", "c"])).expect("sound names");
        assert!(!one.has_channel(Some("a")));
        assert_eq!(one.to_names().channels, [""; 0]);
    }

    #[test]
    fn too_many_or_bad_names_are_refused() {
        let many: Vec<_> = (0..=CHANNELS_MAX).map(|number| format!("c{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(Subscription::open(names(&many[1..])).is_ok());
        assert_eq!(Subscription::open(names(&many)), Err(BadNames::TooMany("channels")));
        assert!(Subscription::open(names(&["a b"])).is_err());
        let rising = |hosts: &[&str]| Names {
            feeds: vec!["rising".into()],
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..Names::default()
        };
        assert!(Subscription::open(rising(&[])).is_err());
        let mut one = Subscription::open(rising(&["h"])).expect("sound names");
        assert!(one.unsubscribe(Names { feeds: vec![], ..rising(&["h"]) }).is_err());
        let bad = Subscription::open(rising(&["h", "a/b"])).map_err(|bad| bad.to_string());
        assert_eq!(bad.err(), Some(format!("hosts {}", Host::RULE)));
    }

    #[test]
    fn a_host_is_the_same_in_capitals_and_watched_only_by_who_wants_what_rises() {
        let names = |feeds: &[&str], hosts: &[&str]| Names {
            feeds: feeds.iter().map(|&feed| feed.to_owned()).collect(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..Names::default()
        };
        let mut one = Subscription::open(names(&["stats"], &["B.org", "a.org", "b.ORG"]))
            .expect("sound names");
        assert_eq!(one.to_names().hosts, ["a.org", "b.org"]);
        assert_eq!(one.watched_hosts().count(), 0);
        one.subscribe(names(&["rising"], &[])).expect("sound names");
        assert_eq!(one.watched_hosts().count(), 2);
        one.unsubscribe(names(&[], &["A.ORG"])).expect("sound names");
        assert_eq!(one.to_names().hosts, ["b.org"]);
    }
}
