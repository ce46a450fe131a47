//! The task that owns one process and brings it to the desired state.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::files::stack_state::StackState;
use crate::process::orphans::{wait_until_unused, write_pid_file};
use crate::process::restart_limiter::RestartLimiter;
use crate::process::state::{DesiredState, ProcessState};
use crate::process::{Launch, LogMark, open_log};
use crate::topology::instance::Instance;

/// The first interval between two readiness probes. The interval then grows with each probe.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// The longest interval between two readiness probes.
const PROBE_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// The task that owns the process of a [`ProcessHandle`](super::ProcessHandle).
pub(super) struct ProcessTask {
    instance: Instance,
    stack_state: Arc<StackState>,
    desired: watch::Receiver<DesiredState>,
    state: watch::Sender<ProcessState>,
    restart_limiter: RestartLimiter,
}

/// The next step after a process has exited.
enum NextStep {
    /// Restarts the process. The text says why the process exited or could not be started.
    Restart(String),
    /// Applies the new desired state.
    ApplyDesired,
}

impl ProcessTask {
    pub(super) fn new(
        instance: Instance,
        stack_state: Arc<StackState>,
        desired: watch::Receiver<DesiredState>,
        state: watch::Sender<ProcessState>,
    ) -> Self {
        Self { instance, stack_state, desired, state, restart_limiter: RestartLimiter::default() }
    }

    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            match desired.launch {
                Some(launch) => self.run_process(desired.generation, &launch).await,
                None => self.stay_stopped(desired.generation).await,
            }
            if self.desired.has_changed().is_err() {
                return;
            }
        }
    }

    /// Waits without a process until the desired state changes.
    async fn stay_stopped(&mut self, generation: u64) {
        self.restart_limiter = RestartLimiter::default();
        self.stack_state.set_pid(self.instance, None);
        self.state
            .send_replace(ProcessState { observed_generation: generation, ..Default::default() });
        let _closed = self.desired.changed().await;
    }

    /// Starts the process, after a pause if one is due, and waits until the process has exited.
    /// Does not start the process if the desired state changes during the pause.
    async fn run_process(&mut self, generation: u64, launch: &Arc<Launch>) {
        self.state.send_modify(|state| state.observed_generation = generation);
        if let Some(pause) = self.restart_limiter.take_pause(Instant::now())
            && self.pause(pause).await
        {
            return;
        }
        self.restart_limiter.record_start(Instant::now());
        let next_step = match self.spawn(generation, launch).await {
            Ok(mut child) => self.watch(&mut child, launch).await,
            Err(error) => {
                NextStep::Restart(format!("cannot start {}: {error}", launch.program.display()))
            }
        };
        if let NextStep::Restart(reason) = next_step {
            tracing::warn!(name = %self.instance, reason, "process failed; restarting it");
            self.state.send_modify(|state| {
                state.pid = None;
                state.exit_reason = Some(reason);
            });
        }
    }

    /// Delays the next start until the pause has elapsed or the desired state changes. Returns
    /// whether the desired state changed.
    async fn pause(&mut self, pause: Duration) -> bool {
        self.stack_state.set_pid(self.instance, None);
        self.state.send_modify(|state| state.paused = true);
        let changed = tokio::select! {
            () = sleep(pause) => false,
            _ = self.desired.changed() => true,
        };
        self.state.send_modify(|state| state.paused = false);
        changed
    }

    async fn spawn(&self, generation: u64, launch: &Launch) -> io::Result<Child> {
        if let Some(dir) = &launch.exclusive_dir {
            wait_until_unused(dir).await;
        }
        let log_file = open_log(&launch.log)?;
        let log = LogMark::at_end(&launch.log);
        let child = launch.spawn(&log_file)?;
        write_pid_file(&launch.pid_file, child.id().unwrap_or_default(), &launch.marker)?;
        self.stack_state.set_pid(self.instance, child.id());
        let exit_reason = self.state.borrow().exit_reason.clone();
        self.state.send_replace(ProcessState {
            observed_generation: generation,
            pid: child.id(),
            exit_reason,
            log: Some(log),
            ..Default::default()
        });
        Ok(child)
    }

    /// Watches a running process until it exits. Stops the process if its desired configuration
    /// changes, or if it should be stopped.
    async fn watch(&mut self, child: &mut Child, launch: &Arc<Launch>) -> NextStep {
        loop {
            let was_ready = self.state.borrow().was_ready;
            tokio::select! {
                status = child.wait() => {
                    let _missing = std::fs::remove_file(&launch.pid_file);
                    return NextStep::Restart(describe_exit(status));
                }
                changed = self.desired.changed() => {
                    if changed.is_ok() && self.is_still_desired(launch) {
                        continue;
                    }
                    self.stop(child, launch).await;
                    return NextStep::ApplyDesired;
                }
                () = wait_until_ready(launch), if !was_ready => {
                    self.restart_limiter.record_ready();
                    self.state.send_modify(|state| {
                        state.was_ready = true;
                        state.exit_reason = None;
                    });
                }
            }
        }
    }

    /// Returns whether the running process matches the desired state. If it does, marks the desired
    /// state as applied.
    fn is_still_desired(&mut self, launch: &Arc<Launch>) -> bool {
        let desired = self.desired.borrow_and_update();
        let is_same = desired.launch.as_ref() == Some(launch);
        if is_same {
            let generation = desired.generation;
            self.state.send_modify(|state| state.observed_generation = generation);
        }
        is_same
    }

    /// Stops the process gracefully. Switches to an immediate stop when one is requested or the
    /// handle is dropped.
    async fn stop(&mut self, child: &mut Child, launch: &Launch) {
        let mut desired = self.desired.clone();
        let stop_now =
            async { drop(desired.wait_for(|desired| desired.stop_now).await.map(|_| ())) };
        let stopped = tokio::select! {
            biased;
            () = stop_now => false,
            _ = launch.stop_policy.stop(child) => true,
        };
        if !stopped {
            launch.stop_policy.stop_now(child).await;
        }
        let _missing = std::fs::remove_file(&launch.pid_file);
        self.stack_state.set_pid(self.instance, None);
        self.state.send_modify(|state| state.pid = None);
    }
}

async fn wait_until_ready(launch: &Launch) {
    let mut interval = PROBE_INTERVAL_MIN;
    while !launch.probe.check().await.is_ok_and(|readiness| readiness.is_ready()) {
        sleep(interval).await;
        interval = (interval * 5 / 4).min(PROBE_INTERVAL_MAX);
    }
}

fn describe_exit(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
