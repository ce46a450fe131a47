//! What the server tells.

use std::borrow::Cow;
use std::time::Duration;

use mayfly_core::frame::VideoCount;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame of any type; a field that its type does not have is none.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    /// Where to go on after this frame.
    #[serde(borrow)]
    pub(crate) position: Option<Cow<'a, str>>,
    /// Of a `message`, its JSON.
    #[serde(borrow)]
    pub(crate) message: Option<&'a RawValue>,
    /// Of a `hello`: whether it goes on where the connection before ended.
    pub(crate) resumed: Option<bool>,
    /// Of a `hello` that does not: why.
    #[serde(borrow)]
    pub(crate) reason: Option<Cow<'a, str>>,
    /// Of a `hello`: how often the server pings.
    ping_interval_ms: Option<u64>,
    /// Of a `gap`: how many frames.
    pub(crate) dropped: Option<u64>,
    /// Of `plays`: the newest counts.
    #[serde(default)]
    pub(crate) counts: Vec<VideoCount>,
}

impl<'a> Frame<'a> {
    /// Reads a frame; none where it is not one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Of a `hello`: how often the server pings, none where it does not.
    pub(crate) fn ping_interval(&self) -> Option<Duration> {
        self.ping_interval_ms.map(Duration::from_millis)
    }
}
