//! The identity of a caller, and the decision whether it may perform an action.

use std::sync::Arc;

use mayfly_core::{Feed, Timestamp};

use crate::{
    access::Access,
    key::Key,
    names::Names,
    readable::ReadableMessages,
    scope::{Scope, Scopes},
    token::{Token, TokenRights},
};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A caller in the mode `open`, which allows everything and does not check credentials.
    Open,
    /// A caller without credentials, with the scopes that are configured for such callers.
    Anonymous(Scopes),
    /// A caller with an API key.
    Key(Arc<Key>),
    /// A caller with a token.
    Token(Arc<Token>),
}

impl Identity {
    /// Returns whether the caller may perform an action. The decision does not depend on the time:
    /// expired and revoked credentials have no identity.
    #[must_use]
    pub fn allows(&self, access: &Access<'_>) -> bool {
        match self {
            Self::Open => true,
            Self::Anonymous(scopes) => scopes.contains(access.scope()),
            Self::Key(key) => key_allows(key, access),
            Self::Token(token) => token_allows(token, access),
        }
    }

    /// Returns whether the caller has any right that belongs to a scope. A route rejects callers
    /// without such a right before it reads the body of a request.
    #[must_use]
    pub fn has_scope(&self, scope: Scope) -> bool {
        match self {
            Self::Open => true,
            Self::Anonymous(scopes) => scopes.contains(scope),
            Self::Key(key) => key.scopes.contains(scope),
            Self::Token(token) => token_has_scope(&token.rights, scope),
        }
    }

    /// Returns the text under which rate limits and idempotency keys count the caller; `None` for
    /// callers that are counted by their address.
    #[must_use]
    pub fn client_id(&self) -> Option<String> {
        match self {
            Self::Open | Self::Anonymous(_) => None,
            Self::Key(key) => Some(format!("key:{}", key.id)),
            Self::Token(token) => Some(format!("token:{}", token.subject)),
        }
    }

    /// Returns the time from which the credentials are no longer accepted; `None` if they do not
    /// expire. For a token, this is the expiry time plus the leeway, so that verification, caches
    /// and open connections agree.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Open | Self::Anonymous(_) => None,
            Self::Key(key) => key.expires_at,
            Self::Token(token) => {
                Some(Timestamp::from_millis(token.ends_at_s().saturating_mul(1_000)))
            }
        }
    }

    /// Returns the messages that the caller may read.
    #[must_use]
    pub fn readable_messages(&self) -> ReadableMessages<'_> {
        ReadableMessages::of(self)
    }

    /// Returns the channels that the caller may subscribe to. A subscription without channels, or
    /// to `*`, receives these channels.
    #[must_use]
    pub fn subscribable_channels(&self) -> Names {
        match self {
            Self::Token(token) => token.rights.subscribe.clone(),
            Self::Anonymous(_) | Self::Key(_)
                if !self.allows(&Access::SubscribeFeed { feed: Feed::Messages }) =>
            {
                Names::none()
            }
            Self::Key(key) if !key.scopes.contains(Scope::Operate) => key.channels.clone(),
            Self::Open | Self::Anonymous(_) | Self::Key(_) => Names::All,
        }
    }
}

fn key_allows(key: &Key, access: &Access<'_>) -> bool {
    if key.scopes.contains(Scope::Operate) {
        return true;
    }
    let is_within_patterns = match *access {
        Access::PublishMessage { channel, username }
        | Access::ReadMessage { channel, username }
        | Access::DeleteMessage { channel, username } => key.covers_message(channel, username),
        // An inbox contains messages of every channel.
        Access::ReadInbox { username } | Access::TakeInbox { username } => {
            key.usernames.matches(username) && key.channels.is_all()
        }
        // A subscription delivers messages of every username.
        Access::Subscribe { channel } => key.channels.matches(channel) && key.usernames.is_all(),
        Access::SubscribeFeed { feed: Feed::Messages } => key.usernames.is_all(),
        Access::PublishVisits { host }
        | Access::ReadHost { host }
        | Access::SubscribeHost { host } => key.hosts.matches_host(host),
        Access::ReadPlays | Access::ReadPulse => !key.is_for_hosts_only(),
        Access::PublishPlays
        | Access::ReadMessages
        | Access::SubscribeFeed { .. }
        | Access::Connect => true,
    };
    is_within_patterns && key.scopes.contains(access.scope())
}

fn token_allows(token: &Token, access: &Access<'_>) -> bool {
    let rights = &token.rights;
    let is_subject = |username: &str| username == token.subject.as_str();
    match *access {
        Access::PublishMessage { channel, username } => {
            rights.publish.matches(channel) && username.is_none_or(is_subject)
        }
        Access::PublishPlays => rights.plays,
        Access::PublishVisits { host } => rights.visits.matches_host(host),
        Access::ReadMessage { channel, username } => token.covers_message(channel, username),
        Access::ReadMessages => !rights.subscribe.is_none() || rights.inbox,
        Access::ReadInbox { username } | Access::TakeInbox { username } => {
            rights.inbox && is_subject(username)
        }
        Access::DeleteMessage { username, .. } => rights.inbox && username.is_some_and(is_subject),
        Access::ReadPlays => rights.feeds.contains(Feed::Plays),
        Access::ReadPulse => rights.feeds.contains(Feed::Pulse),
        Access::ReadHost { host } => rights.hosts.matches_host(host),
        Access::SubscribeHost { host } => {
            rights.feeds.contains(Feed::Rising) && rights.hosts.matches_host(host)
        }
        Access::Subscribe { channel } => rights.subscribe.matches(channel),
        Access::SubscribeFeed { feed: Feed::Messages } => !rights.subscribe.is_none(),
        Access::SubscribeFeed { feed } => rights.feeds.contains(feed),
        Access::Connect => token_has_scope(rights, Scope::Subscribe),
    }
}

fn token_has_scope(rights: &TokenRights, scope: Scope) -> bool {
    match scope {
        Scope::Publish => !rights.publish.is_none() || rights.plays || !rights.visits.is_none(),
        // The feed `messages` requires the right to a channel.
        Scope::Subscribe => {
            !rights.subscribe.is_none() || rights.feeds.iter().any(|feed| feed != Feed::Messages)
        }
        Scope::Read => {
            !rights.subscribe.is_none()
                || rights.inbox
                || rights.feeds.contains(Feed::Plays)
                || rights.feeds.contains(Feed::Pulse)
                || !rights.hosts.is_none()
        }
        Scope::Take => rights.inbox,
        Scope::Operate => false,
    }
}

#[cfg(test)]
mod tests;
