//! Signals of whoever runs the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::Lifecycle;

/// SIGTERM and SIGINT, caught from now on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches the signals; needs the async runtime.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Begins the drain at the first signal and leaves at once at the second. Never ends.
    pub(crate) async fn obey(mut self, lifecycle: Lifecycle) {
        let first = self.receive().await;
        info!(signal = first, "draining");
        lifecycle.drain();
        let second = self.receive().await;
        warn!(signal = second, "second signal, leaving at once");
        std::process::exit(128 + second);
    }

    async fn receive(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}
