//! A stack that this process supervises.

use std::sync::Arc;
use std::thread::JoinHandle;

use mayfly_runtime::exit_on_panic;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::error::StackError;
use crate::files::paths::Paths;
use crate::files::stack_env::StackEnv;
use crate::spec::Spec;
use crate::supervisor::Supervisor;
use crate::supervisor::status::InstanceStatus;
use crate::topology::instance::ProcessKind;

/// The local stack, supervised by this process.
///
/// Dropping the stack stops every process immediately. On Linux, the processes also stop when this
/// process exits, even if this process is killed, because a dedicated thread starts the processes
/// and the kernel sends them a signal when that thread exits.
#[derive(Debug)]
pub struct Stack {
    supervisor: Arc<Supervisor>,
    runtime: Handle,
    /// Canceled to stop the thread.
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    /// Starts a stack and returns when every service is ready. If an error occurs, stops
    /// everything.
    pub async fn up(spec: Spec) -> Result<Self, StackError> {
        let stack = Self::new(&spec)?;
        stack.apply(spec).await?;
        Ok(stack)
    }

    /// Creates a stack that does not run any process yet.
    pub fn new(spec: &Spec) -> Result<Self, StackError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StackError::io("the async runtime"))?;
        let handle = runtime.handle().clone();
        let supervisor = Arc::new(Supervisor::new(Paths::new(&spec.root)));
        let stop = CancellationToken::new();
        let run = {
            let (supervisor, stop) = (supervisor.clone(), stop.clone());
            move || {
                runtime.block_on(stop.cancelled());
                runtime.block_on(supervisor.kill());
            }
        };
        let thread = std::thread::Builder::new().name("stack".to_owned()).spawn(run);
        let thread = Some(thread.map_err(StackError::io("the stack thread"))?);
        Ok(Self { supervisor, runtime: handle, stop, thread })
    }

    /// Applies `spec`, restarting only the processes that differ, and returns when every service is
    /// ready. If a service does not become ready in time, returns an error but leaves all services
    /// running. If an earlier step fails, such as starting a server or migrating the schema,
    /// restores the processes that were running before.
    pub async fn apply(&self, spec: Spec) -> Result<(), StackError> {
        let supervisor = self.supervisor.clone();
        self.run_on_thread(async move { supervisor.apply(&spec).await }).await?
    }

    /// Stops a service or server gracefully, and returns when it has stopped. The service or server
    /// stays down until [`start`](Self::start) or the next [`apply`](Self::apply).
    pub async fn stop(&self, kind: impl Into<ProcessKind>) -> Result<(), StackError> {
        let (supervisor, kind) = (self.supervisor.clone(), kind.into());
        self.run_on_thread(async move { supervisor.stop(kind).await }).await?
    }

    /// Starts a stopped service or server, and returns when every process of the service or server
    /// is ready. While a server is stopped, a service only needs to be live.
    pub async fn start(&self, kind: impl Into<ProcessKind>) -> Result<(), StackError> {
        let (supervisor, kind) = (self.supervisor.clone(), kind.into());
        self.run_on_thread(async move { supervisor.start(kind).await }).await?
    }

    /// Returns the status of every process.
    pub async fn status(&self) -> Result<Vec<InstanceStatus>, StackError> {
        let supervisor = self.supervisor.clone();
        self.run_on_thread(async move { supervisor.status().await }).await
    }

    /// Returns the current content of `stack.env`.
    pub fn env(&self) -> StackEnv {
        self.supervisor.env()
    }

    /// Returns the spec that was applied last, or `None` if no spec has been applied yet. Ignores
    /// specs that could not be planned or started.
    pub fn spec(&self) -> Option<Spec> {
        self.supervisor.spec()
    }

    /// Returns whether [`down`](Self::down) has been called.
    pub fn is_shutting_down(&self) -> bool {
        self.supervisor.is_shutting_down()
    }

    /// Stops everything gracefully, and returns when everything has stopped. Aborts an `apply` in
    /// progress.
    pub async fn down(&self) -> Result<(), StackError> {
        let supervisor = self.supervisor.clone();
        self.run_on_thread(async move { supervisor.down().await }).await
    }

    /// Runs a future on the thread of the stack, the only thread that may start processes.
    async fn run_on_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StackError> {
        let work = self.runtime.spawn(exit_on_panic("operate the stack", work));
        work.await.map_err(|_| StackError::ShuttingDown)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
