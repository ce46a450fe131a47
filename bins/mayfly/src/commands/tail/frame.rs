//! What the server tells.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame of any type; a field that its type does not have is none.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    /// Where to go on after this frame.
    #[serde(borrow)]
    pub(super) position: Option<Cow<'a, str>>,
    /// Of a `message`, its JSON.
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    /// Of a `hello`: whether it goes on where the connection before ended.
    pub(super) resumed: Option<bool>,
    /// Of a `hello` that does not: why.
    #[serde(borrow)]
    pub(super) reason: Option<Cow<'a, str>>,
    /// Of a `hello`: how often the server pings.
    ping_interval_ms: Option<u64>,
    /// Of a `gap`: how many frames.
    pub(super) dropped: Option<u64>,
}

impl<'a> Frame<'a> {
    /// Reads a frame; none where it is not one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Of a `hello`: how often the server pings, none where it does not.
    pub(super) fn ping_interval(&self) -> Option<Duration> {
        self.ping_interval_ms.map(Duration::from_millis)
    }
}
