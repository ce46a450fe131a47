//! Frames from the server.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use mayfly_core::plays::VideoCount;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::terminal::escape;

/// A frame of any type. An optional field that the frame does not contain is `None` or empty.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    /// The type, such as `message` or `hello`.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The position from which a client can resume after it has received this frame.
    #[serde(borrow)]
    pub position: Option<Cow<'a, str>>,
    /// In a `message` frame, the message as JSON. In an `error` frame, the description as JSON.
    #[serde(borrow)]
    pub message: Option<&'a RawValue>,
    /// In an `error` frame, the machine-readable code.
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    /// In an `error` frame with the code `forbidden`, the names that the credentials do not allow.
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    feeds: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
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

/// The content of an `error` frame: the server rejected a request of this client. The `Display`
/// output is safe to print to a terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorFrame<'a> {
    /// The machine-readable code, such as `forbidden`.
    pub code: &'a str,
    /// The violated rule.
    pub description: String,
    /// The channels, feeds and hosts that the credentials do not allow.
    pub forbidden: Vec<&'a str>,
}

impl Display for ErrorFrame<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escape(self.code), escape(&self.description))?;
        if self.forbidden.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", escape(&self.forbidden.join(", ")))
    }
}

impl<'a> Frame<'a> {
    /// Parses a frame. Returns `None` if the frame is malformed.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the content of an `error` frame, or `None` for any other frame.
    pub fn error(&self) -> Option<ErrorFrame<'_>> {
        let code = self.code.as_deref().filter(|_| self.kind == "error")?;
        let description = self.message.map(RawValue::get);
        let description = description.and_then(|json| serde_json::from_str(json).ok());
        let names = [&self.channels, &self.feeds, &self.hosts].into_iter().flatten();
        let forbidden = names.map(String::as_str).collect();
        Some(ErrorFrame { code, description: description.unwrap_or_default(), forbidden })
    }

    /// Returns the ping interval in a `hello` frame, or `None` if the frame contains none.
    pub fn ping_interval(&self) -> Option<Duration> {
        self.ping_interval_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_frame_has_a_code_and_a_description() {
        let text = r#"{"type":"error","code":"invalid_json","message":"no JSON\n"}"#;
        let frame = Frame::parse(text).expect("a valid frame");
        let error = frame.error().expect("an error frame");
        assert_eq!((error.code, error.description.as_str()), ("invalid_json", "no JSON\n"));
        assert_eq!(error.to_string(), r"invalid_json: no JSON\n");
        let text = r#"{"type":"error","code":"forbidden","message":"no","channels":["a"],"feeds":["plays"],"hosts":[]}"#;
        let frame = Frame::parse(text).expect("a valid frame");
        let error = frame.error().expect("an error frame");
        assert_eq!(error.to_string(), "forbidden: no: a, plays");
        let other = Frame::parse(r#"{"type":"hello","code":"x"}"#).expect("a valid frame");
        assert_eq!(other.error(), None);
    }
}
