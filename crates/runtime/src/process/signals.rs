//! The signals that stop a process.

use std::io;

use nix::sys::signal::{self as nix_signal, SaFlags, SigAction, SigHandler, SigSet};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::Lifecycle;

/// The handlers for SIGTERM, SIGINT, SIGQUIT and SIGHUP. While the handlers are installed, none of
/// these signals terminates the process. Neither does SIGPIPE, which Rust programs ignore.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// `None` if the process was started with SIGHUP ignored, for example by `nohup`.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Installs the handlers. Must be called within the async runtime.
    ///
    /// # Errors
    /// If the operating system refuses a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: install_hangup()?,
        })
    }

    /// Waits for the next signal and returns it.
    pub async fn receive(&mut self) -> SignalKind {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = hangup => SignalKind::hangup(),
        }
    }

    /// Waits for the next signal other than SIGHUP and returns it. After the first signal, SIGHUP
    /// does not request an immediate exit, because a closing terminal sends SIGHUP several times,
    /// and session managers send SIGHUP right after SIGTERM.
    pub async fn receive_except_hangup(&mut self) -> SignalKind {
        loop {
            let signal = self.receive().await;
            if signal != SignalKind::hangup() {
                return signal;
            }
        }
    }

    /// Begins the drain at the first signal. Exits the process immediately at the next signal other
    /// than SIGHUP. Never completes.
    pub(crate) async fn run(mut self, lifecycle: Lifecycle) {
        let first = self.receive().await.as_raw_value();
        info!(signal = first, "draining");
        lifecycle.drain();
        let second = self.receive_except_hangup().await.as_raw_value();
        warn!(signal = second, "second signal: exiting immediately without finishing the drain");
        std::process::exit(128 + second);
    }
}

/// Installs the handler for SIGHUP. Returns `None` if the process was started with SIGHUP ignored.
#[expect(unsafe_code, reason = "the only way to read the disposition of a signal is to replace it")]
fn install_hangup() -> io::Result<Option<Signal>> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: the signal is ignored, so no handler runs.
    let earlier = unsafe { nix_signal::sigaction(nix_signal::SIGHUP, &ignore)? };
    if matches!(earlier.handler(), SigHandler::SigIgn) {
        return Ok(None);
    }
    // SAFETY: this disposition was in effect before the call above. It may be the handler of Tokio,
    // which Tokio installs only once per process.
    unsafe { nix_signal::sigaction(nix_signal::SIGHUP, &earlier)? };
    signal(SignalKind::hangup()).map(Some)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    #[expect(unsafe_code, reason = "the only way to change the disposition of a signal")]
    async fn handlers_can_be_installed_repeatedly() {
        // The tests may run under `nohup`.
        // SAFETY: no handler is installed.
        unsafe { nix_signal::signal(nix_signal::SIGHUP, SigHandler::SigDfl) }.expect("valid");
        for _ in 0..2 {
            let mut signals = StopSignals::install().expect("the handlers are allowed");
            nix_signal::raise(nix_signal::SIGHUP).expect("the process exists");
            let received = tokio::time::timeout(Duration::from_secs(30), signals.receive()).await;
            assert_eq!(received.expect("the signal arrives"), SignalKind::hangup());
        }
    }
}
