//! Processes that tests start, signal and kill.

mod child_guard;
mod service_process;
mod signals;

pub use child_guard::{ChildGuard, ExitCommand};
pub use service_process::ServiceProcess;
pub use signals::{Frozen, send_signal};
