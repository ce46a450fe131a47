//! The versioned format of stream entries.
//!
//! The name of an entry's first field is the kind of the entry, and the value of this field is the
//! body. The field `meta` contains the epoch, the request ID and the trace context. A new epoch
//! begins after Redis has lost data. An expiry, which records a take or a deletion, also has the
//! field `channels`. The stream `messages` contains messages and expiries; the stream `plays`
//! contains plays. New versions only add fields and kinds. A reader must leave an entry of an
//! unknown kind to a newer reader or move the entry to the dead-letter queue.

use std::str::FromStr;

use crate::{clock::Timestamp, message::MessageId};

/// The field that contains the JSON of a message, byte for byte as clients receive it.
pub const MESSAGE_V1: &str = "message.v1";
/// The field that contains an expiry (a take or a deletion): the time in milliseconds since the
/// Unix epoch and the message IDs, separated by spaces.
pub const EXPIRE_V1: &str = "expire.v1";
/// The field that contains plays: the JSON of [`crate::plays::Plays`].
pub const PLAYS_V1: &str = "plays.v1";
/// The field that contains an entry's metadata in the format of [`Meta::parse`].
pub const META: &str = "meta";
/// The field of an expiry that contains the channel of each ID, separated by spaces.
pub const CHANNELS: &str = "channels";

/// The metadata of an entry: the epoch, the request ID and the trace context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The epoch in which the entry was written.
    pub epoch: String,
    /// The ID of the request.
    pub request_id: String,
    /// The W3C trace context of the request.
    pub traceparent: String,
}

impl Meta {
    /// Formats the part of the field `meta` that the writer provides. The Lua script that appends
    /// the entry adds the epoch.
    #[must_use]
    pub fn format_origin(request_id: &str, traceparent: &str) -> String {
        [request_id, traceparent].join(" ")
    }

    /// Parses `<epoch> <request id> <traceparent>`; missing parts are empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { epoch: next(), request_id: next(), traceparent: next() }
    }
}

/// The decoded body of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The JSON of an accepted message.
    Message(Vec<u8>),
    /// Messages were taken or deleted.
    Expire {
        /// The time of expiry.
        at: Timestamp,
        /// The expired messages.
        ids: Vec<MessageId>,
    },
    /// The JSON of accepted plays.
    Plays(Vec<u8>),
}

/// The error for an entry that this version cannot decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEntry {
    /// The kind is unknown to this version.
    #[error("unknown entry kind: {0}")]
    UnknownKind(String),
    /// The body of an expiry is malformed.
    #[error("malformed expiry")]
    MalformedExpiry,
}

impl Entry {
    /// Decodes an entry from its first field. An error includes the body.
    pub fn decode(kind: &str, body: Vec<u8>) -> Result<Self, (UnreadableEntry, Vec<u8>)> {
        match kind {
            MESSAGE_V1 => Ok(Self::Message(body)),
            PLAYS_V1 => Ok(Self::Plays(body)),
            EXPIRE_V1 => parse_expiry(&body).ok_or((UnreadableEntry::MalformedExpiry, body)),
            unknown => Err((UnreadableEntry::UnknownKind(unknown.to_owned()), body)),
        }
    }
}

fn parse_expiry(body: &[u8]) -> Option<Entry> {
    let mut parts = std::str::from_utf8(body).ok()?.split(' ');
    let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
    let ids = parts.map(MessageId::from_str).collect::<Result<_, _>>().ok()?;
    Some(Entry::Expire { at, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn expiry_is_milliseconds_and_ids() {
        let body = format!("1795201620123 {ID} {ID}").into_bytes();
        let id: MessageId = ID.parse().expect("it is an id");
        let at = Timestamp::from_millis(1_795_201_620_123);
        assert_eq!(Entry::decode(EXPIRE_V1, body), Ok(Entry::Expire { at, ids: vec![id, id] }));
        assert_eq!(
            Entry::decode(EXPIRE_V1, b"x y".to_vec()),
            Err((UnreadableEntry::MalformedExpiry, b"x y".to_vec()))
        );
    }

    #[test]
    fn unknown_kind_is_an_error() {
        assert_eq!(
            Entry::decode("message.v9", vec![1]),
            Err((UnreadableEntry::UnknownKind("message.v9".into()), vec![1]))
        );
    }

    #[test]
    fn meta_is_epoch_request_and_trace() {
        let text = format!("e1 {}", Meta::format_origin("r-1", "00-ab-cd-01"));
        assert_eq!(
            Meta::parse(&text),
            Meta {
                epoch: "e1".into(),
                request_id: "r-1".into(),
                traceparent: "00-ab-cd-01".into()
            }
        );
        assert_eq!(Meta::parse(""), Meta::default());
    }
}
