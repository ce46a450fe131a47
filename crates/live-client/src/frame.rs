//! Frames from the server.

use std::borrow::Cow;
use std::time::Duration;

use mayfly_core::plays::VideoCount;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame of any type. An optional field that the frame does not contain is `None` or empty.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    /// The type, such as `message` or `hello`.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The position from which a client can resume after it has received this frame.
    #[serde(borrow)]
    pub position: Option<Cow<'a, str>>,
    /// In a `message` frame, the message as JSON.
    #[serde(borrow)]
    pub message: Option<&'a RawValue>,
    /// In a `hello` frame, `true` if the server resumes from the client's position, and `false` if
    /// the client may have missed messages. Otherwise, `None`.
    pub resumed: Option<bool>,
    /// In a `hello` frame, the reason why the client may have missed messages.
    #[serde(borrow)]
    pub reason: Option<Cow<'a, str>>,
    /// In a `hello` frame, the server's ping interval, in milliseconds.
    ping_interval_ms: Option<u64>,
    /// In a `gap` frame, the number of dropped frames.
    pub dropped: Option<u64>,
    /// In a `plays` frame, the latest counts.
    #[serde(default)]
    pub counts: Vec<VideoCount>,
}

impl<'a> Frame<'a> {
    /// Parses a frame. Returns `None` if the frame is malformed.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the ping interval in a `hello` frame, or `None` if the frame contains none.
    pub fn ping_interval(&self) -> Option<Duration> {
        self.ping_interval_ms.map(Duration::from_millis)
    }
}
