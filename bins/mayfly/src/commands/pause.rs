//! `mayfly pause`: keeps a container running, so that an operator can execute other commands in it.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print_err;

use crate::signals::cancel_on_signal;

/// Waits for a signal. A handler is required, because the first process in a container ignores most
/// signals for which it has no handler.
pub(crate) async fn pause() -> Result<ExitCode> {
    let signal = cancel_on_signal()?;
    print_err("waiting for a signal; execute commands with `kubectl exec`");
    signal.cancelled().await;
    Ok(ExitCode::SUCCESS)
}
