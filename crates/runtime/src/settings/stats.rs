//! `[stats]`: the statistics of the minute, and where they lie.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{duration, scalar::read, url};

/// What is summed up, and where it lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// How often it is summed up.
    #[serde(deserialize_with = "duration::positive")]
    pub interval: Duration,
    /// The bucket of S3.
    #[serde(deserialize_with = "bucket")]
    pub bucket: String,
    /// The key of the object in it.
    #[serde(deserialize_with = "key")]
    pub key: String,
    /// Where callers reach S3; empty is the endpoint of the services.
    #[serde(deserialize_with = "url::public")]
    pub public_endpoint: String,
    /// Where callers find the object without a signature; empty signs a URL.
    #[serde(deserialize_with = "url::public")]
    pub public_url: String,
}

fn bucket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, "3 to 63 of a-z 0-9 . -", |value| {
        let text = value.as_text()?;
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
        };
        ((3..=63).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
    })
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, "1 to 1,024 bytes without control characters", |value| {
        let text = value.as_text()?;
        let sound = (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control);
        sound.then(|| text.to_owned())
    })
}
