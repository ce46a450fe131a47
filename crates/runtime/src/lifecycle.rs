//! How a process leaves: it drains, then it goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// Says when the process begins to leave. Clones share one state.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Cancelled at the first signal.
    draining: CancellationToken,
    /// The same as a flag: every request asks, and asking the token takes a lock.
    is_draining: Arc<AtomicBool>,
    /// How long the process may take from then on.
    shutdown_timeout: Duration,
}

impl Lifecycle {
    /// Makes the lifecycle of a process that may take `shutdown_timeout` to leave.
    pub fn new(shutdown_timeout: Duration) -> Self {
        Self { draining: CancellationToken::new(), is_draining: Arc::default(), shutdown_timeout }
    }

    /// Gives the token that is cancelled when the drain begins.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Begins the drain, as the first signal does.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.draining.cancel();
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// How long the process may take to leave once the drain has begun.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }
}
