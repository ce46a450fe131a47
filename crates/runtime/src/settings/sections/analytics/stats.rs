//! `[stats]`: the statistics snapshot and its S3 object.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::settings::values::{duration, parse_scalar, url};

/// The interval and the location of the statistics snapshot.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsSettings {
    /// The interval between snapshots.
    #[serde(deserialize_with = "duration::positive")]
    pub interval: Duration,
    /// The S3 bucket.
    #[serde(deserialize_with = "bucket")]
    pub bucket: String,
    /// The key of the object in the bucket.
    #[serde(deserialize_with = "key")]
    pub key: String,
    /// The S3 endpoint for clients. Empty means the endpoint that the services use.
    #[serde(deserialize_with = "url::public")]
    pub public_endpoint: String,
    /// The URL of the object without a signature. Empty means a presigned URL.
    #[serde(deserialize_with = "url::public")]
    pub public_url: String,
}

fn bucket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    parse_scalar(deserializer, "3 to 63 characters of a-z 0-9 . -", |value| {
        let text = value.as_text()?;
        let is_allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
        };
        ((3..=63).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| text.to_owned())
    })
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    parse_scalar(deserializer, "1 to 1,024 bytes without control characters", |value| {
        let text = value.as_text()?;
        let is_valid = (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control);
        is_valid.then(|| text.to_owned())
    })
}
