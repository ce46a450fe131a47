//! Starts, probes, restarts and stops one child process.

mod handle;
mod launch;
mod log_file;
mod orphans;
mod parent_death_signal;
mod probe;
mod readiness;
mod restart_limiter;
mod state;
mod stop_policy;
mod task;

pub(crate) use handle::ProcessHandle;
pub(crate) use launch::{Account, BuildId, Launch, inherited_environment};
pub(crate) use log_file::LogMark;
pub use log_file::open_log;
pub(crate) use orphans::{stop_lock_holder, stop_orphans};
pub(crate) use parent_death_signal::set_parent_death_signal;
pub(crate) use probe::Probe;
pub use readiness::Readiness;
pub(crate) use state::ProcessState;
pub(crate) use stop_policy::StopPolicy;
