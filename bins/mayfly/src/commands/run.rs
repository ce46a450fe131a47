//! `mayfly run`.

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::up::{apply, describe_addresses};
use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::commands::down::bring_down;
use crate::control::{Request, start_supervisor};
use crate::output::say;
use crate::signals::Signals;

mod log_tail;

use log_tail::LogTail;

pub(crate) async fn run(wishes: &Wishes) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let mut signals = Signals::catch()?;
    let shown = tokio::select! {
        shown = show(wishes, &checkout) => shown,
        () = signals.wait() => Ok(()),
    };
    // Whoever read the log may be gone.
    let _unread = writeln!(stderr(), "\nstopping …");
    bring_down(&checkout).await?;
    shown.map(|()| ExitCode::SUCCESS)
}

/// Brings the stack up and shows its log until it goes down.
async fn show(wishes: &Wishes, checkout: &Checkout) -> Result<()> {
    let mut tail = LogTail::from_now(checkout.paths.logs());
    let mut attached = start_supervisor(checkout).await?;
    // Should this process be killed, the connection ends, and with it the stack.
    attached.ask(&Request::Attach).await?;
    let mut applied = std::pin::pin!(apply(wishes, checkout));
    tokio::select! {
        applied = &mut applied => applied?,
        () = tail.follow() => bail!("nobody reads the log"),
    }
    say(&describe_addresses(checkout)?);
    say("Ctrl-C stops it.\n");
    tokio::select! {
        () = tail.follow() => bail!("nobody reads the log"),
        () = attached.closed() => bail!("the stack went down"),
    }
}
