//! The status of the processes of a stack.

use serde::{Deserialize, Serialize};

use crate::process::Readiness;
use crate::topology::instance::Instance;

/// The status of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The process.
    pub instance: Instance,
    /// Its PID while it runs.
    pub pid: Option<u32>,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Its URL for clients; for a worker, the URL of its admin port.
    pub url: String,
}
