//! The status of each process in a stack.

use serde::{Deserialize, Serialize};

use crate::process::Readiness;
use crate::topology::instance::Instance;

/// The status of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The process.
    pub instance: Instance,
    /// The PID while the process runs.
    pub pid: Option<u32>,
    /// Whether the process is ready.
    pub readiness: Readiness,
    /// The URL for clients or, for a worker, the URL of the admin port.
    pub url: String,
}
