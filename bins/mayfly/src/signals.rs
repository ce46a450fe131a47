//! The signals that end a command.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends a command that runs in the foreground.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Returns when one has come.
    pub(crate) async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
