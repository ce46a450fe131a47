//! The shutdown of a process: the drain, which finishes accepted work, and then the exit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// The drain state of a process, and the time limit for its shutdown. Clones share one state.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Canceled when the drain begins.
    draining: CancellationToken,
    /// Mirrors `draining`, because every request checks the drain state, and checking the token
    /// takes a lock.
    is_draining: Arc<AtomicBool>,
    /// The time limit from the beginning of the drain to the exit.
    shutdown_timeout: Duration,
}

impl Lifecycle {
    /// Creates the lifecycle of a process that must exit within `shutdown_timeout` after the first
    /// signal.
    pub fn new(shutdown_timeout: Duration) -> Self {
        Self { draining: CancellationToken::new(), is_draining: Arc::default(), shutdown_timeout }
    }

    /// Returns the token that is canceled when the drain begins.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Begins the drain, as the first signal does.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.draining.cancel();
    }

    /// Returns whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Returns the time limit from the beginning of the drain to the exit.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }
}
