//! Frames of the feeds, reduced to the fields that tests inspect, so that parsing many large frames
//! is fast.

use serde::Deserialize;
use uuid::Uuid;

/// A received frame.
#[derive(Debug, Clone, Deserialize)]
pub struct ReceivedFrame {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The position after this frame.
    pub position: Option<String>,
    /// Of `hello`: whether the server resumes from the requested position.
    pub resumed: Option<bool>,
    /// Of `hello`: the reason for not resuming.
    pub reason: Option<String>,
    /// Of `gap`: the number of dropped frames.
    pub dropped: Option<usize>,
    /// Of `message`: the message.
    pub message: Option<ReceivedMessage>,
}

/// A message in a frame.
#[derive(Debug, Clone, Deserialize)]
pub struct ReceivedMessage {
    /// The ID.
    pub id: Uuid,
    /// The text.
    pub text: Option<String>,
}

impl ReceivedFrame {
    /// Parses a frame.
    ///
    /// # Panics
    /// If the text is not a frame.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let frame = serde_json::from_slice(text);
        frame.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
    }

    /// Returns the text of the message.
    ///
    /// # Panics
    /// If the frame has no text.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = self.message.as_ref().and_then(|message| message.text.as_deref());
        text.expect("a message with a text")
    }
}
