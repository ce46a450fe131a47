//! `[rising]`: the source of visitor counts from which trends are computed.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::settings::values::{Scalar, duration, parse_scalar, url};

/// The source of visitor counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RisingSettings {
    /// Mayfly's own heartbeats, or an API that is compatible with Chartbeat.
    pub source: RisingSource,
    /// The base URL of the Chartbeat-compatible API. The path of API version 1 is appended, unless
    /// the URL already contains `/live/toppages`.
    #[serde(deserialize_with = "url::public")]
    pub chartbeat_url: String,
    /// Interval between samples of each known host, even without requests or subscribers.
    #[serde(deserialize_with = "duration::positive")]
    pub refresh: Duration,
}

/// The source of visitor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RisingSource {
    /// Heartbeats received by `POST /v1/visits`.
    Visits,
    /// An API that is compatible with Chartbeat.
    Chartbeat,
}

impl<'de> Deserialize<'de> for RisingSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer, "visits or chartbeat", |value| match value {
            Scalar::Text(text) if text == "visits" => Some(Self::Visits),
            Scalar::Text(text) if text == "chartbeat" => Some(Self::Chartbeat),
            _ => None,
        })
    }
}
