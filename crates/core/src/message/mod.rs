//! Messages: their fields, IDs and JSON.

mod batch;
mod cursor;
mod definition;
mod document;
mod field;
mod id;
mod new_message;
mod view;

use serde::Serialize;

pub use batch::{split_array, split_lines};
pub use cursor::{Cursor, InvalidCursor, Order};
pub use definition::{Message, MessageBody, MessageView, NewMessage};
pub use document::{Document, DocumentError};
pub use field::{Channel, Place, Text, Ttl, Username};
pub use id::{IdGenerator, InvalidMessageId, MessageId};
pub use new_message::WriteForm;
pub use view::expire_json;

use crate::clock::Timestamp;

/// The number of bytes from the start of the timestamp in `expires_at` to the end of a message's
/// JSON: the timestamp, a quote and a brace.
pub const EXPIRES_AT_TAIL_BYTES: usize = Timestamp::TEXT_BYTES + 2;

impl Message {
    /// Serializes the message to the line of JSON that clients receive. The bytes are stored in
    /// Redis and forwarded to clients without serializing the message again.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Returns the message with the ID and the acceptance time from an earlier write. The TTL does
    /// not change.
    #[must_use]
    pub fn reissue(self, id: MessageId, at: Timestamp) -> Self {
        let ttl = self.expires_at.since(self.created_at);
        Self { id, created_at: at, expires_at: at.plus(ttl), ..self }
    }
}

fn to_json(message: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, message)
        .expect("invariant: a message has only string keys, and writing to a Vec never fails");
    json
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);

    fn id() -> MessageId {
        "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id")
    }

    #[test]
    fn message_json_is_stable() {
        let sent = r#"{"username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY",
            "data":{ "b":1.0, "a":[] },"ttl":60}"#;
        let message = NewMessage::from_json(sent).expect("it is valid").accept(id(), NOW);
        insta::assert_snapshot!(
            String::from_utf8(message.to_json()).expect("it is UTF-8"),
            @r#"{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby","username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY","data":{"b":1.0,"a":[]},"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}"#
        );
    }

    #[test]
    fn message_round_trips_through_its_view() {
        let sent = r#"{"channel":"c","text":"é","data":[1.10]}"#;
        let message = NewMessage::from_json(sent).expect("it is valid").accept(id(), NOW);
        let json = message.to_json();
        let view = MessageView::from_json(&json).expect("it parses");
        assert_eq!((view.id, &*view.channel, view.created_at), (id(), "c", NOW));
        assert_eq!(view.text.as_deref(), Some("é"));
        assert_eq!(view.data.map(RawValue::get), Some("[1.10]"));
        assert_eq!(view.to_json(), json);
    }

    #[test]
    fn expiring_replaces_the_end_of_the_json_and_never_extends_the_ttl() {
        let message = NewMessage::from_json(r#"{"text":"x"}"#).expect("it is valid");
        let message = message.accept(id(), NOW);
        let at = NOW.plus(std::time::Duration::from_secs(1));
        let expired = expire_json(message.to_json(), at);
        let expected = Message { expires_at: at, ..message.clone() }.to_json();
        assert_eq!(expired, expected);
        let later = NOW.plus(std::time::Duration::from_secs(3_600));
        assert_eq!(expire_json(message.to_json(), later), message.to_json());
    }
}
