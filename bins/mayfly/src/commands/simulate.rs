//! `mayfly simulate`: sample messages, and a walk through everything that is stored.

mod api;
mod messages;
mod pace;
mod places;
mod progress;
mod sample;
mod walk;

use std::process::ExitCode;

use anyhow::Result;

use crate::command_line::Simulate;

/// What a shell says of a command that was interrupted.
const INTERRUPTED: u8 = 130;

pub(crate) async fn simulate(what: Simulate) -> Result<ExitCode> {
    match what {
        Simulate::Messages(options) => messages::write_messages(options).await,
        Simulate::Walk(options) => walk::walk(options).await,
    }
}
