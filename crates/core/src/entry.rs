//! What an entry of a stream says, version by version.
//!
//! The first field of an entry is named after what it is and holds its body; `meta` says where it
//! comes from, and that of an expiry has `channels`, too. Messages and expiries stand in the stream
//! `messages`, plays in `plays`. Fields and kinds only grow: a reader that does not know one must
//! leave it to a newer reader, or to the dead letters, never guess.

use std::str::FromStr;

use crate::{clock::Timestamp, message_id::MessageId};

/// The field of a message: its JSON, byte for byte what clients see.
pub const MESSAGE_V1: &str = "message.v1";
/// The field of an expiry (a take or a deletion): milliseconds and ids, blanks between them.
pub const EXPIRE_V1: &str = "expire.v1";
/// The field of plays: the JSON of [`crate::play::Plays`].
pub const PLAYS_V1: &str = "plays.v1";
/// The field that says where an entry comes from.
pub const META: &str = "meta";
/// The field of an expiry that names the channel of each id, blanks between them.
pub const CHANNELS: &str = "channels";

/// Where an entry comes from: which past of Redis, which request, which trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The epoch in which the entry was written.
    pub epoch: String,
    /// The request that brought it.
    pub request_id: String,
    /// The W3C trace context of that request.
    pub traceparent: String,
}

impl Meta {
    /// The part that the writer hands in; the epoch is put before it in the atomic step itself.
    #[must_use]
    pub fn origin(request_id: &str, traceparent: &str) -> String {
        format!("{request_id} {traceparent}")
    }

    /// Reads `<epoch> <request id> <traceparent>`; what is missing is empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { epoch: next(), request_id: next(), traceparent: next() }
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A message was accepted; its JSON.
    Message(Vec<u8>),
    /// Messages were taken or deleted.
    Expire {
        /// When.
        at: Timestamp,
        /// Which.
        ids: Vec<MessageId>,
    },
    /// Plays were accepted; their JSON.
    Plays(Vec<u8>),
}

/// An entry that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEntry {
    /// A field that this version does not know.
    #[error("the kind of the entry is unknown: {0}")]
    UnknownKind(String),
    /// An expiry that does not follow its form.
    #[error("the expiry is malformed")]
    MalformedExpiry,
}

impl Entry {
    /// Reads an entry from its first field; the body of an unreadable one is given back.
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
    let mut words = std::str::from_utf8(body).ok()?.split(' ');
    let at = Timestamp::from_millis(words.next()?.parse().ok()?);
    let ids = words.map(MessageId::from_str).collect::<Result<_, _>>().ok()?;
    Some(Entry::Expire { at, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    #[test]
    fn an_expiry_is_milliseconds_and_ids() {
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
    fn an_unknown_kind_is_not_guessed() {
        assert_eq!(
            Entry::decode("message.v9", vec![1]),
            Err((UnreadableEntry::UnknownKind("message.v9".into()), vec![1]))
        );
    }

    #[test]
    fn meta_is_epoch_request_and_trace() {
        let text = format!("e1 {}", Meta::origin("r-1", "00-ab-cd-01"));
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
