//! Frames from the server.

use std::borrow::Cow;
use std::time::Duration;

use mayfly_core::plays::VideoCount;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame of any type. Fields that its type does not have are `None`.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    /// The type, such as `message` or `hello`.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The position from which a client resumes after this frame.
    #[serde(borrow)]
    pub position: Option<Cow<'a, str>>,
    /// The message of a `message` frame, as JSON.
    #[serde(borrow)]
    pub message: Option<&'a RawValue>,
    /// Whether a `hello` frame resumes the earlier connection.
    pub resumed: Option<bool>,
    /// Why a `hello` frame does not resume.
    #[serde(borrow)]
    pub reason: Option<Cow<'a, str>>,
    /// The ping interval of the server in a `hello` frame.
    ping_interval_ms: Option<u64>,
    /// The number of dropped frames in a `gap` frame.
    pub dropped: Option<u64>,
    /// The latest counts in a `plays` frame.
    #[serde(default)]
    pub counts: Vec<VideoCount>,
}

impl<'a> Frame<'a> {
    /// Parses a frame; `None` if it is malformed.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the ping interval in a `hello` frame; `None` if the server does not ping.
    pub fn ping_interval(&self) -> Option<Duration> {
        self.ping_interval_ms.map(Duration::from_millis)
    }
}
