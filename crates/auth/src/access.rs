//! The actions that are subject to access control.

use mayfly_core::Feed;

use crate::scope::Scope;

/// An action that a request or a frame attempts. Names are valid, as parsed by `mayfly-core`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Publishes a message.
    PublishMessage {
        /// The channel.
        channel: &'a str,
        /// The username in the body; `None` if the body contains none. A message that is published
        /// with a token then gets the subject of the token as its username.
        username: Option<&'a str>,
    },
    /// Reports plays.
    PublishPlays,
    /// Reports visits to a host.
    PublishVisits {
        /// The host.
        host: &'a str,
    },
    /// Reads one message, by its ID, in a list, or in a replay.
    ReadMessage {
        /// The channel of the message.
        channel: &'a str,
        /// The username of the message.
        username: Option<&'a str>,
    },
    /// Reads a list of messages, which contains only the messages that the caller may read.
    ReadMessages,
    /// Reads an inbox.
    ReadInbox {
        /// The owner of the inbox.
        username: &'a str,
    },
    /// Takes messages from an inbox.
    TakeInbox {
        /// The owner of the inbox.
        username: &'a str,
    },
    /// Deletes a message.
    DeleteMessage {
        /// The channel of the message.
        channel: &'a str,
        /// The username of the message.
        username: Option<&'a str>,
    },
    /// Reads play counts.
    ReadPlays,
    /// Reads the pages of a host.
    ReadHost {
        /// The host.
        host: &'a str,
    },
    /// Reads the health of the system.
    ReadPulse,
    /// Subscribes to the messages of a channel.
    Subscribe {
        /// The channel.
        channel: &'a str,
    },
    /// Subscribes to a feed. [`Feed::Messages`] and [`Feed::Rising`] also require the right to each
    /// channel or host.
    SubscribeFeed {
        /// The feed.
        feed: Feed,
    },
    /// Subscribes to the pages of a host.
    SubscribeHost {
        /// The host.
        host: &'a str,
    },
    /// Opens a live connection.
    Connect,
}

impl Access<'_> {
    /// Returns the scope that allows the action.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::PublishMessage { .. } | Self::PublishPlays | Self::PublishVisits { .. } => {
                Scope::Publish
            }
            Self::ReadMessage { .. }
            | Self::ReadMessages
            | Self::ReadInbox { .. }
            | Self::ReadPlays
            | Self::ReadHost { .. }
            | Self::ReadPulse => Scope::Read,
            Self::TakeInbox { .. } | Self::DeleteMessage { .. } => Scope::Take,
            Self::Subscribe { .. }
            | Self::SubscribeFeed { .. }
            | Self::SubscribeHost { .. }
            | Self::Connect => Scope::Subscribe,
        }
    }
}
