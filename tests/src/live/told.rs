//! What a frame of the feed says, as far as tests look at it: quick to read, even where there are
//! many large ones.

use serde::Deserialize;
use uuid::Uuid;

/// What a frame says.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands.
    pub position: Option<String>,
    /// Of `hello`: whether everything since the position that was sent comes.
    pub resumed: Option<bool>,
    /// Of `hello`: why not.
    pub reason: Option<String>,
    /// Of `gap`: how many frames were dropped.
    pub dropped: Option<usize>,
    /// Of `message`.
    pub message: Option<ToldMessage>,
}

/// What a message says.
#[derive(Debug, Clone, Deserialize)]
pub struct ToldMessage {
    /// Its id.
    pub id: Uuid,
    /// Its text.
    pub text: Option<String>,
}

impl Told {
    /// Reads a frame.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let told = serde_json::from_slice(text);
        told.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
    }

    /// The text of its message.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = self.message.as_ref().and_then(|message| message.text.as_deref());
        text.expect("it is a message with a text")
    }
}
