//! `[plays]`: publication of play counts.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::duration;

/// Publication of play counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaysSettings {
    /// The interval between publications of counts of 100 or more.
    #[serde(deserialize_with = "duration::positive")]
    pub interval: Duration,
}
