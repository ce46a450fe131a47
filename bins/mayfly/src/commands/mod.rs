//! The subcommands, one file each.

mod audit;
mod config;
mod keys;
mod migrate;
mod pause;
mod simulate;
mod stack;
mod table;
mod tail;
mod token;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::command_line::{Command, CommandLine};
use stack::{down, ensure_installed, reset, run, serve_s3, start, status, stop, supervise, up};

/// Runs the subcommand. Asynchronous subcommands create their own runtimes, because the supervisor
/// must detach from its caller before it creates threads.
pub(crate) fn run(line: CommandLine) -> Result<ExitCode> {
    match line.command {
        Command::Up(options) => block_on(up::up(&options)),
        Command::Run(options) => block_on(run::run(&options)),
        Command::Down => block_on(down::down()),
        Command::Status(options) => block_on(status::status(&options)),
        Command::Start(process) => block_on(start::start(process.name)),
        Command::Stop(process) => block_on(stop::stop(process.name)),
        Command::Reset(options) => block_on(reset::reset(&options)),
        Command::Migrate => block_on(migrate::migrate()),
        Command::Keys(command) => block_on(keys::keys(command)),
        Command::Token(command) => block_on(token::token(command)),
        Command::Audit(options) => block_on(audit::audit(options)),
        Command::Tail(options) => block_on(tail::tail(options)),
        Command::Simulate(command) => block_on(simulate::simulate(command)),
        Command::Config(format) => config::config(&format),
        Command::EnsureInstalled => ensure_installed::ensure_installed(),
        Command::Pause => block_on(pause::pause()),
        Command::Supervise => supervise::supervise(),
        Command::ServeS3(options) => block_on(serve_s3::serve_s3(options)),
    }
}

fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(command)
}
