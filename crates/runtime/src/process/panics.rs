//! The exit of a process after an essential task panics.

use std::thread;

use tokio::sync::SetOnce;

/// The name of the first essential task that panicked in this process.
static PANICKED: SetOnce<&str> = SetOnce::const_new();

/// Runs an essential task. If the task panics, [`run`](super::run) returns a nonzero exit code, so
/// the process exits and is restarted.
///
/// A panic ends only the task in which it occurs. Without this function, the process would remain
/// ready without doing the work of the task. `task` is the name of the task in the log.
pub async fn exit_on_panic<T>(task: &'static str, future: impl Future<Output = T>) -> T {
    let _reporter = PanicReporter(task);
    future.await
}

/// Waits until an essential task panics, and returns its name.
pub async fn wait_for_panic() -> &'static str {
    PANICKED.wait().await
}

/// A guard that reports a panic of the task that owns it.
struct PanicReporter(&'static str);

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if thread::panicking() {
            // Fails if another task has already panicked.
            let _ = PANICKED.set(self.0);
        }
    }
}
