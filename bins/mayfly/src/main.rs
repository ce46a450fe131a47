//! The `mayfly` command for operators.

mod command_line;
mod commands;
mod settings;
mod signals;
mod stack_options;

use std::process::ExitCode;

use clap::Parser as _;
use mayfly_live_client::terminal::print_err;

use command_line::CommandLine;

fn main() -> ExitCode {
    match commands::run(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            print_err(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
