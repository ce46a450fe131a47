//! Readiness and status of a supervised process.

use crate::process::{Launch, ProcessHandle, ProcessState, Readiness};
use crate::supervisor::QUOTED_LINES;
use crate::supervisor::status::InstanceStatus;
use crate::topology::instance::Instance;

/// Checks the readiness of a process.
pub(super) async fn check_readiness(process: &ProcessHandle) -> Readiness {
    let Some(launch) = process.desired_launch() else { return Readiness::Stopped };
    let state = process.state();
    // The running process is about to be replaced, so its response would be misleading.
    if state.pid.is_some() && !process.is_up_to_date() {
        return Readiness::NotReady("it is being replaced".to_owned());
    }
    launch
        .probe
        .check()
        .await
        .unwrap_or_else(|error| Readiness::NotReady(describe_failure(&error, &state)))
}

/// Describes why a process does not respond: why it exited or could not be started, otherwise the
/// probe error, and the end of its log.
fn describe_failure(probe_error: &str, state: &ProcessState) -> String {
    let lines = state.log.as_ref().map(|log| log.last_lines(QUOTED_LINES)).unwrap_or_default();
    let reason = match &state.exit_reason {
        Some(reason) => format!("it exited ({reason})"),
        None => probe_error.to_owned(),
    };
    if lines.is_empty() { reason } else { format!("{reason}; end of its log:\n{lines}") }
}

/// Returns whether a process should run and is live.
pub(super) async fn is_live(process: &ProcessHandle) -> bool {
    match process.desired_launch() {
        Some(launch) => launch.probe.is_live().await,
        None => false,
    }
}

/// Returns the status of a process.
pub(super) async fn get_status(instance: Instance, process: &ProcessHandle) -> InstanceStatus {
    let url = process.last_launch().map(|launch| client_url(&launch)).unwrap_or_default();
    let pid = process.state().pid;
    InstanceStatus { instance, pid, readiness: check_readiness(process).await, url }
}

fn client_url(launch: &Launch) -> String {
    launch.ports.first().map(|port| launch.probe.url(*port)).unwrap_or_default()
}
