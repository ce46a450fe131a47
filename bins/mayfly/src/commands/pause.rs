//! `mayfly pause`: keeps a container running in which an operator executes other commands.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print_err;

use crate::signals::cancel_on_signal;

/// Waits for a signal. The first process of a container ignores signals that it does not handle.
pub(crate) async fn pause() -> Result<ExitCode> {
    let signal = cancel_on_signal()?;
    print_err("waiting for a signal; execute commands with `kubectl exec`");
    signal.cancelled().await;
    Ok(ExitCode::SUCCESS)
}
