//! One file for each subcommand.

mod audit;
mod config;
mod down;
mod ensure_installed;
mod keys;
mod migrate;
mod reset;
mod run;
mod serve_s3;
mod simulate;
mod start;
mod status;
mod stop;
mod supervise;
mod tail;
mod up;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::command_line::{Command, CommandLine};

/// Does what was typed. Each command makes what it needs: the supervisor must let go of its caller before anything else.
pub(crate) fn run(line: CommandLine) -> Result<ExitCode> {
    match line.command {
        Command::Up(wishes) => wait_for(up::up(&wishes)),
        Command::Run(wishes) => wait_for(run::run(&wishes)),
        Command::Down => wait_for(down::down()),
        Command::Status => wait_for(status::status()),
        Command::Start(named) => wait_for(start::start(named.name)),
        Command::Stop(named) => wait_for(stop::stop(named.name)),
        Command::Reset => wait_for(reset::reset()),
        Command::Migrate => wait_for(migrate::migrate()),
        Command::Keys(what) => wait_for(keys::keys(what)),
        Command::Audit(options) => wait_for(audit::audit(options)),
        Command::Tail(options) => wait_for(tail::tail(options)),
        Command::Simulate(what) => wait_for(simulate::simulate(what)),
        Command::Config(what) => config::config(&what),
        Command::EnsureInstalled => ensure_installed::ensure_installed(),
        Command::Supervise => supervise::supervise(),
        Command::ServeS3(options) => wait_for(serve_s3::serve_s3(options)),
    }
}

fn wait_for(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("the async runtime")?.block_on(command)
}
