//! A stack that runs in this process.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::error::StackError;
use crate::instance::Part;
use crate::paths::Paths;
use crate::spec::Spec;
use crate::stack_env::StackEnv;
use crate::status::InstanceStatus;
use crate::supervisor::Supervisor;

/// The whole system on this machine, supervised by this process.
///
/// Dropping it ends every process at once. So does the end of this process, however it ends: the processes are started
/// by a thread that does nothing else, and on Linux the kernel ends them when that thread does.
#[derive(Debug)]
pub struct Stack {
    supervisor: Arc<Supervisor>,
    runtime: Handle,
    /// Tells the thread to end.
    ended: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    /// Starts a stack and returns when every service is ready; else nothing of it is left.
    pub async fn up(spec: Spec) -> Result<Self, StackError> {
        let stack = Self::new(&spec)?;
        stack.apply(spec).await?;
        Ok(stack)
    }

    /// Makes a stack of which nothing runs yet.
    pub fn new(spec: &Spec) -> Result<Self, StackError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StackError::io("a runtime"))?;
        let handle = runtime.handle().clone();
        let supervisor = Arc::new(Supervisor::new(Paths::new(&spec.root)));
        let ended = CancellationToken::new();
        let body = {
            let (supervisor, ended) = (supervisor.clone(), ended.clone());
            move || {
                runtime.block_on(ended.cancelled());
                runtime.block_on(supervisor.kill());
            }
        };
        let thread = std::thread::Builder::new().name("stack".to_owned()).spawn(body);
        let thread = Some(thread.map_err(StackError::io("a thread"))?);
        Ok(Self { supervisor, runtime: handle, ended, thread })
    }

    /// Brings the stack to `spec`, restarting only what differs, and returns when every service is ready. When one is
    /// not, the rest stays up.
    pub async fn apply(&self, spec: Spec) -> Result<(), StackError> {
        let supervisor = self.supervisor.clone();
        self.there(async move { supervisor.apply(&spec).await }).await?
    }

    /// Ends a part as an operator would, and returns when it is down. It stays down until [`start`](Self::start) or
    /// the next [`apply`](Self::apply).
    pub async fn stop(&self, part: impl Into<Part>) -> Result<(), StackError> {
        let (supervisor, part) = (self.supervisor.clone(), part.into());
        self.there(async move { supervisor.stop(part).await }).await?
    }

    /// Starts a part that was stopped, and returns when it is up.
    pub async fn start(&self, part: impl Into<Part>) -> Result<(), StackError> {
        let (supervisor, part) = (self.supervisor.clone(), part.into());
        self.there(async move { supervisor.start(part).await }).await?
    }

    /// How every process is.
    pub async fn status(&self) -> Result<Vec<InstanceStatus>, StackError> {
        let supervisor = self.supervisor.clone();
        self.there(async move { supervisor.status().await }).await
    }

    /// Where everything is now: what stands in `stack.env`.
    pub fn env(&self) -> StackEnv {
        self.supervisor.env()
    }

    /// What the stack was brought to last; none before that, and none of what could not be planned or started.
    pub fn spec(&self) -> Option<Spec> {
        self.supervisor.spec()
    }

    /// Ends everything as an operator would, and returns when it is down. What is still being applied is given up.
    pub async fn down(&self) -> Result<(), StackError> {
        let supervisor = self.supervisor.clone();
        self.there(async move { supervisor.down().await }).await
    }

    /// Does something on the thread of the stack, where alone processes may be started.
    async fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StackError> {
        self.runtime.spawn(work).await.map_err(|_| StackError::Closing)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
