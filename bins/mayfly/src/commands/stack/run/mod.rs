//! `mayfly run`: runs the local stack in the foreground.

mod log_tail;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use anyhow::{Result, bail};
use mayfly_live_client::terminal::print;
use mayfly_stack::control::{Checkout, Request, start_supervisor};

use crate::command_line::StackOptions;
use crate::commands::stack::down::stop_stack;
use crate::commands::stack::up::{apply, describe_addresses};
use crate::signals::cancel_on_signal;
use log_tail::LogTail;

pub(crate) async fn run(options: &StackOptions) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let interrupt = cancel_on_signal()?;
    let result = tokio::select! {
        result = run_stack(options, &checkout) => result,
        () = interrupt.cancelled() => Ok(()),
    };
    // The terminal may be closed.
    let _closed = writeln!(stderr(), "\nStopping…");
    stop_stack(&checkout).await?;
    result.map(|()| ExitCode::SUCCESS)
}

/// Starts the stack and shows its log until it shuts down.
async fn run_stack(options: &StackOptions, checkout: &Checkout) -> Result<()> {
    let mut tail = LogTail::from_now(checkout.paths.logs());
    let mut supervisor = start_supervisor(checkout).await?;
    // If this process is killed, the connection closes and the supervisor stops the stack.
    supervisor.request(&Request::Attach).await?;
    let mut applied = std::pin::pin!(apply(options, checkout));
    tokio::select! {
        applied = &mut applied => applied?,
        () = tail.follow() => bail!("standard output is closed"),
    }
    print(&describe_addresses(checkout)?);
    print("Press Ctrl-C to stop.\n");
    tokio::select! {
        () = tail.follow() => bail!("standard output is closed"),
        () = supervisor.closed() => bail!("the stack has shut down"),
    }
}
