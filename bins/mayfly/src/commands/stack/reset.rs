//! `mayfly reset`: stops the local stack and deletes its data.

use std::io::{self, IsTerminal as _, Write as _, stderr, stdin};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use mayfly_live_client::terminal::print;
use mayfly_simulate::SavedStackFile;
use mayfly_stack::control::Checkout;

use super::down::stop_stack;
use crate::command_line::Reset;

pub(crate) async fn reset(options: &Reset) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    if !options.yes && !confirm(&checkout)? {
        print("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    stop_stack(&checkout).await?;
    // The lock prevents the stack from starting while its data is being deleted.
    let lock = checkout.lock()?;
    let _lock = lock.context("the stack was started again; nothing was deleted")?;
    mayfly_stack::reset(checkout.paths.root())?;
    SavedStackFile::new(&checkout.paths.data_dir()).delete()?;
    print("Mayfly is down. Its data on this machine was deleted.");
    Ok(ExitCode::SUCCESS)
}

/// Asks on the terminal whether to delete the data.
fn confirm(checkout: &Checkout) -> Result<bool> {
    ensure!(
        stdin().is_terminal() && stderr().is_terminal(),
        "`mayfly reset` deletes the data of the local stack: confirm with --yes"
    );
    let dir = checkout.paths.data_dir();
    ask(&format!("Stop the local stack and delete its data in {}? [y/N] ", dir.display()))
        .context("cannot read the answer")
}

fn ask(question: &str) -> io::Result<bool> {
    write!(stderr(), "{question}")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
