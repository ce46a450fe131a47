//! An entry of the stream `messages` as subscribers see it.

use std::str;

use bytes::Bytes;

use crate::{entry::Entry, entry_id::EntryId, message_id::MessageId};

/// One entry, whether it was published or read from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEntry {
    /// Its place in the stream.
    pub id: EntryId,
    /// The request that brought it; empty if nobody knows.
    pub request_id: Box<str>,
    /// What happened.
    pub event: LiveEvent,
}

/// What an entry tells subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// A message was accepted.
    Message {
        /// Where it was published.
        channel: Box<str>,
        /// The message as clients see it, one line of JSON.
        json: Bytes,
    },
    /// Messages were taken or deleted.
    Expired(Vec<ExpiredMessage>),
}

/// A message that was taken or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it had been published; nothing if that was not written down.
    pub channel: Option<Box<str>>,
}

impl LiveEntry {
    /// Bytes that its frame takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.event {
            LiveEvent::Message { json, .. } => json.len(),
            LiveEvent::Expired(list) => list.len() * MessageId::TEXT_BYTES,
        }
    }
}

impl LiveEvent {
    /// Makes an event of what an entry of the stream says, if it can be shown; `channels` is its
    /// field of that name.
    #[must_use]
    pub fn of_entry(entry: Entry, channels: &str) -> Option<Self> {
        match entry {
            Entry::Message(json) => {
                let channel = channel_of(&json)?.into();
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

/// Finds the channel in the JSON of a message, which begins with id and channel.
fn channel_of(json: &[u8]) -> Option<&str> {
    const BEGINNING: &[u8] = b"{\"id\":\"";
    const BETWEEN: &[u8] = b"\",\"channel\":\"";
    let rest = json.strip_prefix(BEGINNING)?.get(MessageId::TEXT_BYTES..)?.strip_prefix(BETWEEN)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn the_channel_stands_at_the_beginning_of_the_json() {
        let json = format!(r#"{{"id":"{ID}","channel":"a:b","username":null}}"#);
        assert_eq!(channel_of(json.as_bytes()), Some("a:b"));
        assert_eq!(channel_of(br#"{"channel":"a"}"#), None);
    }

    #[test]
    fn an_expiry_of_an_earlier_version_names_no_channels() {
        let id: MessageId = ID.parse().expect("it is an id");
        let expire = || Entry::Expire { at: Timestamp::from_millis(0), ids: vec![id, id] };
        let channels = |field: &str| match LiveEvent::of_entry(expire(), field) {
            Some(LiveEvent::Expired(list)) => {
                list.into_iter().map(|one| one.channel).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(channels("a b"), [Some("a".into()), Some("b".into())]);
        assert_eq!(channels(""), [None, None]);
    }
}
