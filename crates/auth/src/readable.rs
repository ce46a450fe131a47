//! The messages that a caller may read.

use crate::{identity::Identity, key::Key, scope::Scope, token::Token};

/// The messages that a caller may read. Lists and replays contain only these.
#[derive(Debug, Clone, Copy)]
pub struct ReadableMessages<'a>(View<'a>);

#[derive(Debug, Clone, Copy)]
enum View<'a> {
    All,
    Nothing,
    Key(&'a Key),
    Token(&'a Token),
}

impl<'a> ReadableMessages<'a> {
    pub(crate) fn of(identity: &'a Identity) -> Self {
        Self(match identity {
            Identity::Open => View::All,
            Identity::Anonymous(scopes) if scopes.contains(Scope::Read) => View::All,
            Identity::Key(key) if key.scopes.contains(Scope::Operate) => View::All,
            Identity::Key(key) if key.scopes.contains(Scope::Read) => View::Key(key),
            Identity::Anonymous(_) | Identity::Key(_) => View::Nothing,
            Identity::Token(token) => View::Token(token),
        })
    }

    /// Returns whether the caller may read a message.
    #[must_use]
    pub fn matches(&self, channel: &str, username: Option<&str>) -> bool {
        match self.0 {
            View::All => true,
            View::Nothing => false,
            View::Key(key) => key.covers_message(channel, username),
            View::Token(token) => token.covers_message(channel, username),
        }
    }

    /// Returns whether the caller may read every message.
    #[must_use]
    pub fn is_all(&self) -> bool {
        match self.0 {
            View::All => true,
            View::Nothing => false,
            View::Key(key) => key.channels.is_all() && key.usernames.is_all(),
            View::Token(token) => token.rights.subscribe.is_all(),
        }
    }

    /// Returns whether the caller may read no message.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self.0 {
            View::All => false,
            View::Nothing => true,
            // A message without a username is in no set of usernames.
            View::Key(key) => key.channels.is_none(),
            View::Token(token) => token.rights.subscribe.is_none() && !token.rights.inbox,
        }
    }
}

impl Key {
    /// Returns whether the patterns cover a message. The patterns of usernames do not apply to
    /// messages without a username.
    pub(crate) fn covers_message(&self, channel: &str, username: Option<&str>) -> bool {
        self.channels.matches(channel)
            && username.is_none_or(|username| self.usernames.matches(username))
    }
}

impl Token {
    /// Returns whether the token grants the right to read a message.
    pub(crate) fn covers_message(&self, channel: &str, username: Option<&str>) -> bool {
        self.rights.subscribe.matches(channel)
            || (self.rights.inbox && username == Some(self.subject.as_str()))
    }
}
