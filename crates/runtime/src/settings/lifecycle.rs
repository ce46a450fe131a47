//! `[lifecycle]`: how a service leaves.

use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// How a service leaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    /// How long a service may take to leave after the first signal.
    #[serde(deserialize_with = "duration::positive")]
    pub shutdown_timeout: Duration,
}
