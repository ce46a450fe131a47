//! The handle that controls one process.

use std::sync::Arc;

use mayfly_runtime::exit_on_panic;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::files::stack_state::StackState;
use crate::process::Launch;
use crate::process::state::{DesiredState, ProcessState};
use crate::process::task::ProcessTask;
use crate::topology::instance::Instance;

/// A handle that controls one process. Dropping the handle stops the process immediately.
#[derive(Debug)]
pub(crate) struct ProcessHandle {
    desired: watch::Sender<DesiredState>,
    state: watch::Receiver<ProcessState>,
    /// The configuration that was requested last.
    last_launch: Mutex<Option<Arc<Launch>>>,
}

impl ProcessHandle {
    /// Creates the handle for a stopped process, and spawns the task of the process on the current
    /// runtime.
    pub(crate) fn new(instance: Instance, stack_state: Arc<StackState>) -> Self {
        let (desired, desired_receiver) = watch::channel(DesiredState::default());
        let (state_sender, state) = watch::channel(ProcessState::default());
        let task = ProcessTask::new(instance, stack_state, desired_receiver, state_sender);
        tokio::spawn(exit_on_panic("supervise a process", task.run()));
        Self { desired, state, last_launch: Mutex::default() }
    }

    /// Requests that the process run with the configuration `launch`. A process that already runs
    /// with this configuration is not restarted.
    pub(crate) fn set_launch(&self, launch: Arc<Launch>) {
        *self.last_launch.lock() = Some(launch.clone());
        self.set_desired(Some(launch), false);
    }

    /// Requests that the process run with the configuration that was requested last.
    pub(crate) fn start(&self) {
        let launch = self.last_launch();
        self.set_desired(launch, false);
    }

    /// Stops the process gracefully and returns when it has exited.
    pub(crate) async fn stop(&self) {
        self.stop_and_wait(false).await;
    }

    /// Stops the process immediately and returns when it has exited.
    pub(crate) async fn stop_now(&self) {
        self.stop_and_wait(true).await;
    }

    async fn stop_and_wait(&self, stop_now: bool) {
        let generation = self.set_desired(None, stop_now);
        let mut state = self.state.clone();
        let _closed = state
            .wait_for(|state| state.observed_generation >= generation && state.pid.is_none())
            .await;
    }

    /// Returns the observed state.
    pub(crate) fn state(&self) -> ProcessState {
        self.state.borrow().clone()
    }

    /// Returns whether the latest desired state has been applied.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.state.borrow().observed_generation == self.desired.borrow().generation
    }

    /// Returns the desired configuration, or `None` if the process should be stopped.
    pub(crate) fn desired_launch(&self) -> Option<Arc<Launch>> {
        self.desired.borrow().launch.clone()
    }

    /// Returns the configuration that was requested last, even if the process has been stopped.
    pub(crate) fn last_launch(&self) -> Option<Arc<Launch>> {
        self.last_launch.lock().clone()
    }

    fn set_desired(&self, launch: Option<Arc<Launch>>, stop_now: bool) -> u64 {
        let mut generation = 0;
        self.desired.send_modify(|desired| {
            generation = desired.generation + 1;
            *desired = DesiredState { generation, launch, stop_now };
        });
        generation
    }
}
