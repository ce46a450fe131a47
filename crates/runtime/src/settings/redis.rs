//! `[redis]`: the hot store.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{count, duration, scalar::read, url};

/// How Redis is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where it is; secret, for it may carry a password.
    #[serde(deserialize_with = "url::redis")]
    pub url: SecretString,
    /// What every key begins with.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// How long an answer is waited for.
    #[serde(deserialize_with = "duration::positive")]
    pub timeout: Duration,
    /// Connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub pool_size_max: usize,
}

/// Braces are refused: they would move keys out of the one slot that a step needs.
fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, "1 to 64 of A-Z a-z 0-9 . _ : -", |value| {
        let text = value.as_text()?;
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
    })
}
