//! The desired and the observed state of a process.

use std::sync::Arc;

use crate::process::{Launch, LogMark};

/// The desired state of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct DesiredState {
    /// The number of this state. The number increases with every change, so that a caller can wait
    /// until its change has been applied.
    pub(super) generation: u64,
    /// The desired configuration. `None` if the process should be stopped.
    pub(super) launch: Option<Arc<Launch>>,
    /// Whether the process is stopped immediately instead of gracefully.
    pub(super) stop_now: bool,
}

/// The observed state of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessState {
    /// The generation of the desired state that was applied last.
    pub(super) observed_generation: u64,
    /// The PID while the process runs.
    pub(crate) pid: Option<u32>,
    /// Whether the running process has ever been ready.
    pub(crate) was_ready: bool,
    /// Whether the next start is delayed because the process has failed too often.
    pub(crate) paused: bool,
    /// Why the previous process exited or could not be started, unless it was stopped. `None` once
    /// the process has become ready.
    pub(crate) exit_reason: Option<String>,
    /// The offset in the log where the output of this process begins.
    pub(crate) log: Option<LogMark>,
}
