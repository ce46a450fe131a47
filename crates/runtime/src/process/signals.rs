//! Shutdown signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::Lifecycle;

/// The handlers of SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within the async runtime.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Begins the drain at the first signal and exits immediately at the second. Never completes.
    pub(crate) async fn run(mut self, lifecycle: Lifecycle) {
        let first = self.receive().await;
        info!(signal = first, "draining");
        lifecycle.drain();
        let second = self.receive().await;
        warn!(signal = second, "second signal: exiting immediately without finishing the drain");
        std::process::exit(128 + second);
    }

    async fn receive(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}
