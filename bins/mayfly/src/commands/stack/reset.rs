//! `mayfly reset`: stops the local stack and deletes its data.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;
use mayfly_simulate::SavedStackFile;
use mayfly_stack::control::Checkout;

use super::down::stop_stack;

pub(crate) async fn reset() -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    stop_stack(&checkout).await?;
    mayfly_stack::reset(checkout.paths.root())?;
    SavedStackFile::new(&checkout.paths.data_dir()).delete()?;
    print("Mayfly is down. Its data on this machine was deleted.");
    Ok(ExitCode::SUCCESS)
}
