//! `mayfly down`: stops the local stack.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;
use mayfly_stack::control::{Checkout, Client, ControlError, Request, wait_until_supervisor_exits};
use mayfly_stack::stop_orphans;

pub(crate) async fn down() -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let was_up = stop_stack(&checkout).await?;
    print(if was_up { "Mayfly is down. Its data was kept." } else { "Mayfly was not up." });
    Ok(ExitCode::SUCCESS)
}

/// Stops the stack of a checkout and waits until all of its processes have exited. Returns whether
/// a supervisor was running.
pub(crate) async fn stop_stack(checkout: &Checkout) -> Result<bool> {
    let supervisor = Client::connect().await;
    let was_up = supervisor.is_some();
    if let Some(mut supervisor) = supervisor {
        match supervisor.request(&Request::Down).await {
            // The supervisor has already exited, for example because of another command.
            Err(ControlError::NoReply | ControlError::Disconnected(_)) => {}
            other => other?,
        }
    }
    wait_until_supervisor_exits(checkout).await?;
    stop_orphans(checkout.paths.root()).await;
    Ok(was_up)
}
