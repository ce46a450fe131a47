//! Entries in the stream `messages`, as delivered to subscribers.

use std::str;

use bytes::Bytes;

use super::{Entry, EntryId};
use crate::message::MessageId;

/// An entry received in a publication or read from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEntry {
    /// The ID of the entry in the stream.
    pub id: EntryId,
    /// The ID of the request that wrote the entry; empty if unknown.
    pub request_id: Box<str>,
    /// The event.
    pub event: LiveEvent,
}

/// An event for subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// A message was accepted.
    Message {
        /// The channel that the message was published on.
        channel: Box<str>,
        /// The message, as the line of JSON that clients receive.
        json: Bytes,
    },
    /// Messages were taken or deleted.
    Expired(Vec<ExpiredMessage>),
}

/// A message that was taken or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredMessage {
    /// The ID of the message.
    pub id: MessageId,
    /// The channel that the message was published on; `None` if the entry does not record it.
    pub channel: Option<Box<str>>,
}

impl LiveEntry {
    /// Returns the approximate size of the entry's frame, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.event {
            LiveEvent::Message { json, .. } => json.len(),
            LiveEvent::Expired(list) => list.len() * MessageId::TEXT_BYTES,
        }
    }
}

impl LiveEvent {
    /// Returns the event in a stream entry; `None` if the entry contains plays or if the channel of
    /// a message cannot be parsed. `channels` is the value of the entry's field `channels`.
    #[must_use]
    pub fn from_entry(entry: Entry, channels: &str) -> Option<Self> {
        match entry {
            Entry::Message(json) => {
                let channel = parse_channel(&json)?.into();
                Some(Self::Message { channel, json: json.into() })
            }
            Entry::Expire { ids, .. } => {
                let mut channels = channels.split(' ');
                let expired = |id| {
                    let channel = channels.next().filter(|channel| !channel.is_empty());
                    ExpiredMessage { id, channel: channel.map(Into::into) }
                };
                Some(Self::Expired(ids.into_iter().map(expired).collect()))
            }
            Entry::Plays(_) => None,
        }
    }
}

/// Returns the channel from the JSON of a message, which starts with the ID and the channel.
fn parse_channel(json: &[u8]) -> Option<&str> {
    const PREFIX: &[u8] = b"{\"id\":\"";
    const SEPARATOR: &[u8] = b"\",\"channel\":\"";
    let rest = json.strip_prefix(PREFIX)?.get(MessageId::TEXT_BYTES..)?.strip_prefix(SEPARATOR)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn channel_is_parsed_from_the_start_of_the_json() {
        let json = format!(r#"{{"id":"{ID}","channel":"a:b","username":null}}"#);
        assert_eq!(parse_channel(json.as_bytes()), Some("a:b"));
        assert_eq!(parse_channel(br#"{"channel":"a"}"#), None);
    }

    #[test]
    fn expiry_without_channels_has_unknown_channels() {
        let id: MessageId = ID.parse().expect("it is an id");
        let expire = || Entry::Expire { at: Timestamp::from_millis(0), ids: vec![id, id] };
        let channels = |field: &str| match LiveEvent::from_entry(expire(), field) {
            Some(LiveEvent::Expired(list)) => {
                list.into_iter().map(|one| one.channel).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(channels("a b"), [Some("a".into()), Some("b".into())]);
        assert_eq!(channels(""), [None, None]);
    }
}
