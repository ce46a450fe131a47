//! `mayfly simulate`: sample messages, a walk through everything that is stored, and plays that are counted.

mod api;
mod local_stack;
mod messages;
pub(super) mod note;
mod pace;
mod places;
mod plays;
mod progress;
mod reset;
mod sample;
mod walk;

use std::process::ExitCode;

use anyhow::Result;

use crate::command_line::Simulate;

/// What a shell says of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// How the id of every video of a simulation begins.
const VIDEO_BEGINNING: &str = "sim-";

pub(crate) async fn simulate(what: Simulate) -> Result<ExitCode> {
    match what {
        Simulate::Messages(options) => messages::write_messages(options).await,
        Simulate::Walk(options) => walk::walk(options).await,
        Simulate::Plays(options) => plays::simulate_plays(options).await,
        Simulate::Reset => reset::reset().await,
    }
}

/// How many plays are still queued, in words.
fn describe_queued(plays: u64) -> String {
    match plays {
        1 => "1 play is still queued".to_owned(),
        _ => format!("{plays} plays are still queued"),
    }
}
