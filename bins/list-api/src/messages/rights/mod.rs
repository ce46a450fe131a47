//! The rights of a caller to messages.
//!
//! A message that a caller may not read does not exist for this caller: a read by ID returns 404
//! after the same lookups as for an unknown ID, and lists omit the message.

use std::{borrow::Cow, fmt};

use mayfly_auth::{Access, Identity, Names, Scope};
use mayfly_cold::{PageRequest, ReadableNames};
use mayfly_core::{Channel, Username};
use mayfly_http::{Code, Problem};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

/// The messages that a caller may read or delete by ID.
#[derive(Clone, Copy)]
pub enum MessageRights<'a> {
    /// Every message.
    All,
    /// The messages that the caller may read.
    Readable(&'a Identity),
    /// The messages that the caller may delete.
    Deletable(&'a Identity),
}

/// The messages in a list that a caller may read.
#[derive(Debug)]
pub enum ReadablePart<'a> {
    /// Every message in the list.
    All,
    /// Some of the messages. Contains the names that the rights of the caller consist of, unless
    /// the rights contain a pattern.
    Some(Option<ReadableNames<'a>>),
}

impl<'a> MessageRights<'a> {
    /// Returns the messages that a caller may read.
    pub fn to_read(identity: &'a Identity) -> Self {
        if identity.readable_messages().is_all() { Self::All } else { Self::Readable(identity) }
    }

    /// Returns the messages that a caller may delete.
    pub fn to_delete(identity: &'a Identity) -> Self {
        let is_all = match identity {
            Identity::Open => true,
            Identity::Anonymous(scopes) => scopes.contains(Scope::Take),
            Identity::Key(key) => {
                key.scopes.contains(Scope::Operate)
                    || (key.scopes.contains(Scope::Take)
                        && key.channels.is_all()
                        && key.usernames.is_all())
            }
            // A token grants the right to the messages of its subject.
            Identity::Token(_) => false,
        };
        if is_all { Self::All } else { Self::Deletable(identity) }
    }

    /// Returns whether the caller has the right to every message.
    pub fn is_all(self) -> bool {
        matches!(self, Self::All)
    }

    /// Returns whether the caller has the right to a message with these names.
    pub fn include(self, channel: &str, username: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Readable(identity) => identity.allows(&Access::ReadMessage { channel, username }),
            Self::Deletable(identity) => {
                identity.allows(&Access::DeleteMessage { channel, username })
            }
        }
    }

    /// Returns whether the caller has the right to a message, given as the start of its JSON, which
    /// contains the names.
    pub fn include_start(self, json: &[u8]) -> bool {
        if self.is_all() {
            return true;
        }
        let mut names = MessageNames::default();
        // The JSON may be truncated after the names, so a parse error is ignored.
        let _ = serde_json::Deserializer::from_slice(json).deserialize_map(&mut names);
        // A start without the names must not pass for a message without a username.
        let MessageNames { channel: Some(channel), username, has_username: true } = names else {
            return false;
        };
        self.include(&channel, username.as_deref())
    }
}

/// Returns the messages in a list that the caller may read.
///
/// # Errors
/// Returns 403 if the caller may read no message, or if the list is limited to a channel or a
/// username without the right to it.
pub fn find_readable_part<'a>(
    identity: &'a Identity,
    request: &PageRequest,
) -> Result<ReadablePart<'a>, Problem> {
    let readable = identity.readable_messages();
    if readable.is_none() {
        return Err(
            Problem::new(Code::Forbidden).detail("The credentials do not allow reading messages.")
        );
    }
    if readable.is_all() {
        return Ok(ReadablePart::All);
    }
    let username = request.username.as_ref().map(Username::as_str);
    if let Some(channel) = request.channel.as_ref().map(Channel::as_str) {
        return if readable.matches(channel, username) {
            let is_all = username.is_some() || has_all_usernames(identity);
            Ok(if is_all { ReadablePart::All } else { ReadablePart::Some(None) })
        } else if readable.matches(channel, None) {
            Err(forbidden_filter("username"))
        } else {
            Err(forbidden_filter("channel"))
        };
    }
    match username {
        Some(username) => find_part_of_user(identity, username),
        None => Ok(ReadablePart::Some(find_exact_names(identity))),
    }
}

/// Returns the messages of a username that the caller may read.
fn find_part_of_user<'a>(
    identity: &'a Identity,
    username: &str,
) -> Result<ReadablePart<'a>, Problem> {
    let (channels, is_whole_user) = match identity {
        Identity::Open | Identity::Anonymous(_) => return Ok(ReadablePart::All),
        Identity::Key(key) if !key.usernames.matches(username) => {
            return Err(forbidden_filter("username"));
        }
        Identity::Key(key) => (&key.channels, key.channels.is_all()),
        Identity::Token(token) => {
            let is_subject = token.rights.inbox && token.subject.as_str() == username;
            (&token.rights.subscribe, is_subject || token.rights.subscribe.is_all())
        }
    };
    if is_whole_user {
        Ok(ReadablePart::All)
    } else if channels.is_none() {
        Err(forbidden_filter("username"))
    } else {
        Ok(ReadablePart::Some(None))
    }
}

/// Returns whether the right to a channel includes the messages of every username.
fn has_all_usernames(identity: &Identity) -> bool {
    match identity {
        Identity::Key(key) => key.usernames.is_all(),
        Identity::Open | Identity::Anonymous(_) | Identity::Token(_) => true,
    }
}

/// Returns the names that the rights of the caller consist of. Returns `None` if the rights contain
/// a pattern.
fn find_exact_names(identity: &Identity) -> Option<ReadableNames<'_>> {
    match identity {
        Identity::Open | Identity::Anonymous(_) => None,
        Identity::Key(key) => {
            Some(ReadableNames { channels: find_exact(&key.channels)?, usernames: Vec::new() })
        }
        Identity::Token(token) => Some(ReadableNames {
            channels: find_exact(&token.rights.subscribe)?,
            usernames: token.rights.inbox.then(|| token.subject.as_str()).into_iter().collect(),
        }),
    }
}

/// Returns the patterns that contain no `*`, or `None` if another pattern exists.
fn find_exact(names: &Names) -> Option<Vec<&str>> {
    let patterns = names.patterns()?.iter();
    patterns.map(|pattern| Some(pattern.as_str()).filter(|text| !text.contains('*'))).collect()
}

fn forbidden_filter(field: &str) -> Problem {
    Problem::new(Code::Forbidden)
        .detail("The credentials do not allow reading these messages.")
        .field(field, "is a name for which these credentials may not read messages")
}

/// The names of a message. The fields of a message have a fixed order that begins with the ID, the
/// channel and the username.
#[derive(Default)]
struct MessageNames {
    channel: Option<String>,
    username: Option<String>,
    /// Whether the field with the username has been read. It is null in a message without one.
    has_username: bool,
}

impl<'de> Visitor<'de> for &mut MessageNames {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            match &*name {
                "id" => drop(fields.next_value::<IgnoredAny>()?),
                "channel" => self.channel = Some(fields.next_value()?),
                "username" => {
                    self.username = fields.next_value()?;
                    self.has_username = true;
                }
                _ => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
