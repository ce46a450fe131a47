//! The signals and time limits for stopping a process.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::timeout;

/// The signals and the time limit for stopping a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopPolicy {
    /// The signal for a graceful shutdown, as an operator would send it.
    pub(crate) graceful: Signal,
    /// The time limit for a graceful shutdown.
    pub(crate) timeout: Duration,
    /// The signal for an immediate shutdown that leaves no child process behind. Postgres, for
    /// example, stops its child processes on `SIGQUIT`.
    pub(crate) immediate: Signal,
    /// The signal that the kernel sends when the supervisor exits.
    pub(crate) parent_death: Signal,
}

/// The time limit for an immediate shutdown, after which the process receives `SIGKILL`.
const IMMEDIATE_TIMEOUT: Duration = Duration::from_secs(5);

impl StopPolicy {
    /// Shuts the process down gracefully. After the timeout, shuts it down immediately.
    pub(crate) async fn stop(&self, child: &mut Child) -> Option<ExitStatus> {
        send(child, self.graceful);
        match timeout(self.timeout, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => self.stop_now(child).await,
        }
    }

    /// Shuts the process down immediately.
    pub(crate) async fn stop_now(&self, child: &mut Child) -> Option<ExitStatus> {
        send(child, self.immediate);
        if let Ok(status) = timeout(IMMEDIATE_TIMEOUT, child.wait()).await {
            return status.ok();
        }
        send(child, Signal::SIGKILL);
        child.wait().await.ok()
    }
}

/// Sends a signal. Does nothing if the process has exited.
fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _exited = kill(Pid::from_raw(pid), signal);
    }
}
