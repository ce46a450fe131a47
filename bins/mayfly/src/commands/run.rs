//! `mayfly run`.

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::up::{apply, describe_addresses};
use crate::checkout::Checkout;
use crate::command_line::Wishes;
use crate::commands::down::bring_down;
use crate::control::{Request, start_supervisor};
use crate::output::say;

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

/// What ends a command that runs in the foreground.
struct Signals([Signal; 3]);

impl Signals {
    fn catch() -> Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
