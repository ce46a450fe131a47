//! `[plays]`: how counts of plays are published.

use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// How counts of plays are published.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plays {
    /// How often large counts are.
    #[serde(deserialize_with = "duration::positive")]
    pub interval: Duration,
}
