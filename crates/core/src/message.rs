//! The message: what exists once it is accepted, and its JSON, made once.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    document::Document,
    field::{Channel, Place, Text, Username},
    message_id::MessageId,
};

/// A message that exists. Its fields are written in this order, `expires_at` last: what expires a
/// message replaces the last [`EXPIRES_AT_TAIL_BYTES`] of its JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Its id, which sorts by the time of acceptance.
    pub id: MessageId,
    /// Where it is published.
    pub channel: Channel,
    /// Whose inbox it lies in.
    pub username: Option<Username>,
    /// What it says.
    pub text: Option<Text>,
    /// Where it comes from.
    pub city: Option<Place>,
    /// Where that city is.
    pub state: Option<Place>,
    /// What it carries.
    pub data: Option<Document>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it stops to live, or stopped.
    pub expires_at: Timestamp,
}

/// Bytes at the end of a message's JSON that hold the value of `expires_at`: the instant, a quote
/// and a brace.
pub const EXPIRES_AT_TAIL_BYTES: usize = Timestamp::TEXT_BYTES + 2;

impl Message {
    /// The message as clients see it: one line of JSON, made once and passed on as bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write_json(self)
    }

    /// The same message as it was accepted before, under another id and at another moment.
    #[must_use]
    pub fn accepted_as(self, id: MessageId, at: Timestamp) -> Self {
        let ttl = self.expires_at.since(self.created_at);
        Self { id, created_at: at, expires_at: at.plus(ttl), ..self }
    }
}

fn write_json(message: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, message)
        .expect("invariant: a message has only string keys, and a Vec takes every byte");
    json
}

/// A message as it is read back from where it was put, nothing checked again: from its JSON by a
/// worker that stores it, from a row by what answers with it. Writes the same JSON as [`Message`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageView<'a> {
    /// Its id.
    pub id: MessageId,
    /// Where it was published.
    #[serde(borrow)]
    pub channel: std::borrow::Cow<'a, str>,
    /// Whose inbox it lay in.
    pub username: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// Where it comes from.
    pub city: Option<String>,
    /// Where that city is.
    pub state: Option<String>,
    /// What it carries, as JSON text.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it stops to live.
    pub expires_at: Timestamp,
}

impl<'a> MessageView<'a> {
    /// Reads a message from the JSON that [`Message::to_json`] made.
    pub fn from_json(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The message as clients see it, one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write_json(self)
    }
}

/// The JSON of a message with another `expires_at`, if that is earlier; else as it is.
#[must_use]
pub fn expire_json(mut json: Vec<u8>, at: Timestamp) -> Vec<u8> {
    if let Some(start) = json.len().checked_sub(EXPIRES_AT_TAIL_BYTES) {
        let at = at.to_string();
        let tail = &mut json[start..start + Timestamp::TEXT_BYTES];
        if at.as_bytes() < &*tail {
            tail.copy_from_slice(at.as_bytes());
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new_message::NewMessage;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);

    fn id() -> MessageId {
        "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("it is an id")
    }

    #[test]
    fn the_json_of_a_message_is_what_clients_rely_on() {
        let sent = r#"{"username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY",
            "data":{ "b":1.0, "a":[] },"ttl":60}"#;
        let message = NewMessage::from_json(sent).expect("it is valid").accept(id(), NOW);
        insta::assert_snapshot!(
            String::from_utf8(message.to_json()).expect("it is UTF-8"),
            @r#"{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","channel":"lobby","username":"fred","text":"Yo \"what\" up!","city":"New York","state":"NY","data":{"b":1.0,"a":[]},"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}"#
        );
    }

    #[test]
    fn a_message_is_read_back_as_it_was_written() {
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
    fn expiring_a_message_changes_the_end_of_its_json_and_never_prolongs_it() {
        let message = NewMessage::from_json(r#"{"text":"x"}"#).expect("it is valid");
        let message = message.accept(id(), NOW);
        let at = NOW.plus(std::time::Duration::from_secs(1));
        let expired = expire_json(message.to_json(), at);
        let by_hand = Message { expires_at: at, ..message.clone() }.to_json();
        assert_eq!(expired, by_hand);
        let later = NOW.plus(std::time::Duration::from_secs(3_600));
        assert_eq!(expire_json(message.to_json(), later), message.to_json());
    }
}
