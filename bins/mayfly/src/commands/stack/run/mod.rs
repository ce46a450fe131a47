//! `mayfly run`: runs the local stack in the foreground.

mod log_tail;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use anyhow::{Result, bail};
use mayfly_live_client::terminal::{print, print_err};
use mayfly_runtime::StopSignals;
use mayfly_stack::Spec;
use mayfly_stack::control::{Checkout, Client, Request, start_supervisor};

use crate::command_line::StackOptions;
use crate::commands::stack::down::stop_stack;
use crate::commands::stack::up::{apply, describe_addresses, prepare_changes};
use crate::signals::interrupted;
use log_tail::LogTail;

pub(crate) async fn run(options: &StackOptions) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let spec = prepare_changes(options, &checkout).await?;
    let mut signals = StopSignals::install()?;
    let mut is_attached = false;
    let result = tokio::select! {
        result = run_stack(&spec, &checkout, &mut is_attached) => result,
        _ = signals.receive() => Ok(()),
    };
    if !is_attached {
        // A stack that was already up stays up.
        return result.map(|()| ExitCode::SUCCESS);
    }
    // The terminal may have been closed.
    let _closed = writeln!(stderr(), "\nStopping…");
    tokio::select! {
        stopped = stop_stack(&checkout) => stopped.map(drop)?,
        signal = signals.receive_except_hangup() => {
            print_err("second signal: the stack is stopping in the background");
            return Ok(interrupted(signal));
        }
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Starts the stack and shows its log until the stack shuts down. Sets `is_attached` after
/// [`attach`] has succeeded.
async fn run_stack(spec: &Spec, checkout: &Checkout, is_attached: &mut bool) -> Result<()> {
    let mut tail = LogTail::from_now(checkout.paths.logs());
    let was_up = Client::connect().await.is_some();
    let mut supervisor = if was_up { None } else { Some(attach(checkout, is_attached).await?) };
    let mut applied = std::pin::pin!(apply(spec, checkout));
    tokio::select! {
        applied = &mut applied => applied?,
        () = tail.follow() => bail!("standard output is closed"),
    }
    let supervisor = match &mut supervisor {
        Some(supervisor) => supervisor,
        None => supervisor.insert(attach(checkout, is_attached).await?),
    };
    print(&describe_addresses(spec, checkout)?);
    print("Press Ctrl-C to stop.\n");
    tokio::select! {
        () = tail.follow() => bail!("standard output is closed"),
        () = supervisor.closed() => bail!("the stack has shut down"),
    }
}

/// Makes the supervisor stop the stack when this process exits. This also works if this process is
/// killed, because the connection then closes.
async fn attach(checkout: &Checkout, is_attached: &mut bool) -> Result<Client> {
    let mut supervisor = start_supervisor(checkout).await?;
    supervisor.request(&Request::Attach).await?;
    *is_attached = true;
    Ok(supervisor)
}
