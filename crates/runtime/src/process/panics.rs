//! The end of a process in which an essential task has panicked.

use std::thread;

use tokio::sync::SetOnce;

/// The first essential task of this process that panicked.
static PANICKED: SetOnce<&str> = SetOnce::const_new();

/// Runs an essential task. If it panics, [`run`](super::run) returns an error, so that the process
/// exits and is restarted.
///
/// A panic ends only its own task. Without this, the process would remain ready and no longer do
/// the work of the task. `task` is its name in the log.
pub async fn exit_on_panic<T>(task: &'static str, future: impl Future<Output = T>) -> T {
    let _reporter = PanicReporter(task);
    future.await
}

/// Waits until an essential task panics, and returns its name.
pub async fn wait_for_panic() -> &'static str {
    PANICKED.wait().await
}

/// Reports a panic of the task that owns it.
struct PanicReporter(&'static str);

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if thread::panicking() {
            // Fails if another task has panicked before.
            let _ = PANICKED.set(self.0);
        }
    }
}
