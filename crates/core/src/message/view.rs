//! Accepted messages read back from Redis or Postgres.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EXPIRES_AT_TAIL_BYTES, MessageId, to_json};
use crate::clock::Timestamp;

/// An accepted message read back from a store, without validating it again: from its JSON in the
/// persist-worker, from a row in list-api. Serializes to the same JSON as [`super::Message`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageView<'a> {
    /// The ID.
    pub id: MessageId,
    /// The channel that the message was published on.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The owner of the inbox that held the message.
    pub username: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// The city of origin.
    pub city: Option<String>,
    /// The state of that city.
    pub state: Option<String>,
    /// The attached document, as JSON text.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// The time of acceptance.
    pub created_at: Timestamp,
    /// The expiry time.
    pub expires_at: Timestamp,
}

impl<'a> MessageView<'a> {
    /// Parses the JSON written by [`super::Message::to_json`].
    pub fn from_json(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Serializes the message as clients see it: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Returns the JSON of a message with `expires_at` set to `at`, if that is earlier than the current
/// value; unchanged otherwise.
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
