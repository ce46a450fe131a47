//! The operator's command.

mod command_line;
mod commands;
mod settings;
mod signals;
mod stack_options;

use std::process::ExitCode;

use clap::Parser as _;

use command_line::CommandLine;

fn main() -> ExitCode {
    match commands::run(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mayfly: {error:#}");
            ExitCode::FAILURE
        }
    }
}
