//! `[lifecycle]`: shutdown.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::duration;

/// The time limit of a shutdown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleSettings {
    /// Time limit of a shutdown, from the first signal to the exit.
    #[serde(deserialize_with = "duration::positive")]
    pub shutdown_timeout: Duration,
}
