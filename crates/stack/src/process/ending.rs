//! How a process is ended.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::timeout;

/// How a process is ended, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// What an operator would send.
    pub(crate) ask: Signal,
    /// How long it may take then.
    pub(crate) within: Duration,
    /// What ends it at once without harm to what lies beside it: Postgres ends its own children on `SIGQUIT`.
    pub(crate) hurry: Signal,
    /// What it gets when its supervisor is gone.
    pub(crate) orphaned: Signal,
}

/// How long a process may take that was told to hurry, before it is killed.
const HURRY_WITHIN: Duration = Duration::from_secs(5);

impl Ending {
    /// Ends a process as an operator would, and kills it only when it takes too long.
    pub(crate) async fn end(&self, child: &mut Child) -> Option<ExitStatus> {
        send(child, self.ask);
        match timeout(self.within, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => self.end_now(child).await,
        }
    }

    /// Ends a process at once.
    pub(crate) async fn end_now(&self, child: &mut Child) -> Option<ExitStatus> {
        send(child, self.hurry);
        if let Ok(status) = timeout(HURRY_WITHIN, child.wait()).await {
            return status.ok();
        }
        send(child, Signal::SIGKILL);
        child.wait().await.ok()
    }
}

/// Sends a signal. A process that has ended meanwhile needs none.
fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}
