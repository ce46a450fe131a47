//! `[postgres]`: the cold store.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::{count, duration, url};

/// How Postgres is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Where it is; secret, for it may carry a password.
    #[serde(deserialize_with = "url::postgres")]
    pub url: SecretString,
    /// How long an answer is waited for in a request.
    #[serde(deserialize_with = "duration::positive")]
    pub timeout: Duration,
    /// Connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub pool_size_max: usize,
}
