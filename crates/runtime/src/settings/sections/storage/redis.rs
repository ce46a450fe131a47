//! `[redis]`: the hot store.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::settings::values::{
    certificates::{self, Certificates},
    count, duration, parse_scalar, switch, url,
};

/// The connection to Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// The connection URL, which is a secret because it may contain a password.
    #[serde(deserialize_with = "url::redis")]
    pub url: SecretString,
    /// The prefix of every key.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// Time limit for a response from Redis.
    #[serde(deserialize_with = "duration::positive")]
    pub timeout: Duration,
    /// The time that a request may wait before it is sent to Redis.
    #[serde(deserialize_with = "duration::positive")]
    pub queue_timeout: Duration,
    /// Maximum number of connections per server thread. Background work has a pool of the same
    /// size.
    #[serde(deserialize_with = "count::pooled_connections")]
    pub pool_size_max: usize,
    /// Idle time before the kernel sends TCP keepalive probes.
    #[serde(deserialize_with = "duration::seconds")]
    pub tcp_keep_alive: Duration,
    /// The certificates of the certificate authorities that may sign the server certificate; `None`
    /// means the certificates of the operating system.
    #[serde(deserialize_with = "certificates::file")]
    pub ca_file: Option<Certificates>,
    /// Whether a Redis server that may evict keys is accepted.
    #[serde(deserialize_with = "switch::on_off")]
    pub allow_eviction: bool,
}

/// Parses a key prefix. Braces are rejected, because they would override the hash tag that keeps
/// the keys of one atomic step in one slot.
fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    parse_scalar(deserializer, "1 to 64 characters of A-Z a-z 0-9 . _ : -", |value| {
        let text = value.as_text()?;
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| text.to_owned())
    })
}
