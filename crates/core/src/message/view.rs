//! Parses and serializes accepted messages, and changes their expiry time.

use super::{EXPIRES_AT_TAIL_BYTES, MessageView, to_json};
use crate::clock::Timestamp;

impl<'a> MessageView<'a> {
    /// Parses the JSON written by [`super::Message::to_json`].
    pub fn from_json(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Serializes the message to the line of JSON that clients receive.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Returns the JSON of a message with `expires_at` set to `at`, unless the current value is
/// earlier.
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
