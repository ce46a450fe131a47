//! Signals that stop a command.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_runtime::StopSignals;
use tokio::signal::unix::SignalKind;
use tokio_util::sync::CancellationToken;

/// Returns a token that is canceled when the process receives SIGINT, SIGTERM, SIGQUIT or SIGHUP.
/// After this call, these signals do not terminate the process.
pub(crate) fn cancel_on_signal() -> Result<CancellationToken> {
    let mut signals = StopSignals::install()?;
    let token = CancellationToken::new();
    let signalled = token.clone();
    tokio::spawn(async move {
        signals.receive().await;
        signalled.cancel();
    });
    Ok(token)
}

/// Returns the exit code for a command that a signal interrupted.
pub(crate) fn interrupted(signal: SignalKind) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal.as_raw_value()).unwrap_or(u8::MAX))
}
