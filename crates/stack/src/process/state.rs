//! The desired and the observed state of a process.

use std::sync::Arc;

use crate::process::{Launch, LogMark};

/// The desired state of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct DesiredState {
    /// Increases with every change, so that a caller can wait until its change was applied.
    pub(super) generation: u64,
    /// How it should run; `None` if it should be stopped.
    pub(super) launch: Option<Arc<Launch>>,
    /// Whether it is stopped immediately instead of gracefully.
    pub(super) stop_now: bool,
}

/// The observed state of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessState {
    /// The generation of the desired state that was applied last.
    pub(super) observed_generation: u64,
    /// Its PID while it runs.
    pub(crate) pid: Option<u32>,
    /// Whether this process was ever ready.
    pub(crate) was_ready: bool,
    /// Whether its next start is delayed because it failed too often.
    pub(crate) paused: bool,
    /// How the previous process exited, unless it was stopped.
    pub(crate) exit_reason: Option<String>,
    /// Where the output of this process begins in the log.
    pub(crate) log: Option<LogMark>,
}
