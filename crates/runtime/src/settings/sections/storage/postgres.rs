//! `[postgres]`: the cold store.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::settings::values::{count, duration, url};

/// The connection to Postgres.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// The connection URL, which is a secret because it may contain a password.
    #[serde(deserialize_with = "url::postgres")]
    pub url: SecretString,
    /// Time limit for a call to Postgres, including the time to obtain a connection.
    #[serde(deserialize_with = "duration::positive")]
    pub timeout: Duration,
    /// Maximum number of connections per process.
    #[serde(deserialize_with = "count::connections")]
    pub pool_size_max: usize,
}
