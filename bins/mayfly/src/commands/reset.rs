//! `mayfly reset`.

use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::commands::down::bring_down;
use crate::commands::simulate::note::Note;
use crate::output::say;

pub(crate) async fn reset() -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    bring_down(&checkout).await?;
    mayfly_stack::reset(checkout.paths.root())?;
    Note::of(&checkout.paths.home()).delete()?;
    say("Mayfly is down, and its data on this machine is deleted.");
    Ok(ExitCode::SUCCESS)
}
