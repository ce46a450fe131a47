//! The names in the requests of clients, and their validation.

use std::collections::BTreeSet;

use mayfly_core::{Channel, Feed, Host};
use serde::Deserialize;

use super::{ALL_CHANNELS, CHANNELS_MAX};

/// Maximum length of a video ID, in characters.
const VIDEO_CHARS_MAX: usize = 128;

/// Unvalidated names that a client frame adds or removes. An empty list changes nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SubscriptionRequest {
    pub(crate) channels: Vec<String>,
    pub(crate) feeds: Vec<String>,
    pub(crate) videos: Vec<String>,
    pub(crate) hosts: Vec<String>,
}

/// Unvalidated names in the request for a new connection.
#[derive(Debug, Default)]
pub(crate) struct NewSubscription {
    /// `None` means all channels. An empty list means no channels.
    pub(crate) channels: Option<Vec<String>>,
    /// `None` means the `messages` feed. An empty list means no feeds.
    pub(crate) feeds: Option<Vec<String>>,
    /// An empty list means all videos.
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
    /// Returns the name of the field in a client frame.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Feeds => "feeds",
            Self::Videos => "videos",
            Self::Hosts => "hosts",
        }
    }

    /// Returns the name of the corresponding query parameter.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Channels => "channel",
            Self::Feeds => "feed",
            Self::Videos => "video",
            Self::Hosts => "host",
        }
    }
}

/// An error in a [`SubscriptionRequest`] or a [`NewSubscription`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionError {
    /// A field violates a rule.
    #[error("{} {rule}", .field.name())]
    InvalidField {
        field: SubscriptionField,
        /// The violated rule, worded to follow the name of the field.
        rule: &'static str,
    },
    /// The connection would have more than [`CHANNELS_MAX`] entries in this field.
    #[error("{} must have at most {CHANNELS_MAX} entries", .0.name())]
    TooMany(SubscriptionField),
}

impl NewSubscription {
    /// Validates each name. Does not check the number of names or their combination.
    pub(crate) fn check_names(self) -> Result<(), SubscriptionError> {
        let Self { channels, feeds, videos, hosts } = self;
        let (channels, feeds) = (channels.unwrap_or_default(), feeds.unwrap_or_default());
        CheckedNames::try_from(SubscriptionRequest { channels, feeds, videos, hosts }).map(drop)
    }
}

/// Validated names.
pub(super) struct CheckedNames {
    /// Whether `*` is one of the channels.
    pub(super) all_channels: bool,
    pub(super) channels: BTreeSet<Channel>,
    pub(super) feeds: BTreeSet<Feed>,
    pub(super) videos: BTreeSet<String>,
    pub(super) hosts: BTreeSet<Host>,
}

impl TryFrom<SubscriptionRequest> for CheckedNames {
    type Error = SubscriptionError;

    fn try_from(request: SubscriptionRequest) -> Result<Self, SubscriptionError> {
        let invalid = |field, rule| SubscriptionError::InvalidField { field, rule };
        let mut channels = request.channels;
        let named = channels.len();
        channels.retain(|name| name != ALL_CHANNELS);
        let all_channels = channels.len() < named;
        let channels = channels.into_iter().map(Channel::parse).collect::<Result<_, _>>();
        let feeds = request.feeds.iter().map(|name| Feed::parse(name)).collect::<Result<_, _>>();
        let videos = check_video_ids(request.videos);
        let hosts = request.hosts.into_iter().map(Host::parse).collect::<Result<_, _>>();
        Ok(Self {
            all_channels,
            channels: channels.map_err(|rule| invalid(SubscriptionField::Channels, rule))?,
            feeds: feeds.map_err(|rule| invalid(SubscriptionField::Feeds, rule))?,
            videos: videos.map_err(|rule| invalid(SubscriptionField::Videos, rule))?,
            hosts: hosts.map_err(|rule| invalid(SubscriptionField::Hosts, rule))?,
        })
    }
}

fn check_video_ids(ids: Vec<String>) -> Result<BTreeSet<String>, &'static str> {
    let is_valid = |id: &String| (1..=VIDEO_CHARS_MAX).contains(&id.chars().count());
    let rule = "must contain only IDs of 1 to 128 characters";
    ids.into_iter().map(|id| is_valid(&id).then_some(id).ok_or(rule)).collect()
}
