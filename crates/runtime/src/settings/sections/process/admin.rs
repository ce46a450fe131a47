//! `[admin]`: the port for operators.

use serde::Deserialize;

use crate::settings::values::address::ListenAddress;

/// The port that serves health checks and metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// The address of the admin port; port 0 selects a free port.
    pub listen: ListenAddress,
}
