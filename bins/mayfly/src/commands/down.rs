//! `mayfly down`.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::end_leftovers;

use crate::checkout::Checkout;
use crate::control::{Client, Request, wait_until_unsupervised};
use crate::output::say;

pub(crate) async fn down() -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let was_up = bring_down(&checkout).await?;
    say(if was_up { "Mayfly is down; its data stays." } else { "Mayfly was not up." });
    Ok(ExitCode::SUCCESS)
}

/// Stops the stack of a checkout, if there is one, and returns when nothing of it runs. Says whether there was one.
pub(crate) async fn bring_down(checkout: &Checkout) -> Result<bool> {
    let supervisor = Client::connect().await;
    let was_up = supervisor.is_some();
    if let Some(mut supervisor) = supervisor {
        supervisor.ask(&Request::Down).await?;
    }
    wait_until_unsupervised(checkout).await?;
    end_leftovers(checkout.paths.root()).await;
    Ok(was_up)
}
