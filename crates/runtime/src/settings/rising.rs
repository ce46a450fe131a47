//! `[rising]`: where the visitors of pages are known from, and how often that is asked.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{
    duration,
    scalar::{Scalar, read},
    url,
};

/// Where the visitors of pages are known from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rising {
    /// Our own heartbeats, or a service that answers like Chartbeat.
    pub source: RisingSource,
    /// Where that service is, without the path of its first form; or, with a path that has
    /// `/live/toppages`, the whole.
    #[serde(deserialize_with = "url::public")]
    pub chartbeat_url: String,
    /// How often every known host is asked for, whoever asks or not.
    #[serde(deserialize_with = "duration::positive")]
    pub refresh: Duration,
}

/// Where the visitors of pages are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RisingSource {
    /// Heartbeats that come in by `POST /v1/visits`.
    Visits,
    /// A service that answers like Chartbeat.
    Chartbeat,
}

impl<'de> Deserialize<'de> for RisingSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "visits or chartbeat", |value| match value {
            Scalar::Text(text) if text == "visits" => Some(Self::Visits),
            Scalar::Text(text) if text == "chartbeat" => Some(Self::Chartbeat),
            _ => None,
        })
    }
}
