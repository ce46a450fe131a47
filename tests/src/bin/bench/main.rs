//! `make bench` and `make bench-quick`: the throughput of Mayfly as ratios to baselines that run on
//! the same machine at the same time. Unlike absolute numbers, ratios remain comparable when the
//! machine is busy, and between machines.
//!
//! A run starts a complete system with its own durable servers. It compares ingest and hot reads
//! with a bare actix-web handler, fan-out with plain write loops, draining with `\copy`, and
//! counting plays among a million other videos with counting plays without other videos.

mod effort;
mod load;
mod measurements;
mod report;
mod system;

use std::{num::NonZeroUsize, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use crate::{
    effort::Effort,
    measurements::{count_plays, drain, fan_out, hot_read, ingest},
    report::Report,
    system::System,
};

/// The allocator of the services.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the throughput of Mayfly as ratios to baselines on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// Runs only this measurement; can be repeated.
    #[arg(long, global = true)]
    only: Vec<Measurement>,
    /// Requires credentials, and sends an API key with every request and handshake.
    #[arg(long, global = true)]
    keys: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs fewer and shorter rounds, about three minutes.
    Quick,
    /// Runs the bare HTTP server until standard input is closed.
    #[command(hide = true)]
    Bare(load::Arguments),
    /// Runs the fan-out baseline until standard input is closed.
    #[command(hide = true)]
    FanOutBaseline(fan_out::Arguments),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    Ingest,
    Count,
    Drain,
    FanOut,
    HotRead,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let outcome = match command_line.command {
        Some(Command::Bare(arguments)) => load::serve(&arguments),
        Some(Command::FanOutBaseline(arguments)) => fan_out::serve(&arguments),
        Some(Command::Quick) => measure(&Effort::QUICK, &command_line.only, command_line.keys),
        None => measure(&Effort::FULL, &command_line.only, command_line.keys),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(effort: &Effort, only: &[Measurement], keys: bool) -> anyhow::Result<()> {
    load_runtime()?.block_on(async {
        tokio::select! {
            outcome = measure_all(effort, only, keys) => outcome,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })
}

/// Uses half of the cores: fewer could be the bottleneck on a large machine, and more would take
/// CPU from Mayfly.
fn load_runtime() -> std::io::Result<Runtime> {
    match cores() / 2 {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

async fn measure_all(effort: &Effort, only: &[Measurement], keys: bool) -> anyhow::Result<()> {
    let is_selected = |one| only.is_empty() || only.contains(&one);
    let load_before = report::load_average();
    eprintln!("starting the system ...");
    let mut system = System::start(keys).await?;
    let mut report = Report::default();
    if keys {
        report.notes.push("every request and handshake contains an API key".to_owned());
    }
    let outcome = async {
        if is_selected(Measurement::Ingest) {
            ingest::measure(&mut system, effort, &mut report).await?;
        }
        if is_selected(Measurement::HotRead) {
            hot_read::measure(&mut system, effort, &mut report).await?;
        }
        if is_selected(Measurement::FanOut) {
            fan_out::measure(&mut system, effort, &mut report).await?;
        }
        if is_selected(Measurement::Count) {
            count_plays::measure(&mut system, effort, &mut report).await?;
        }
        if is_selected(Measurement::Drain) {
            drain::measure(&mut system, effort, &mut report).await?;
        }
        report.about = report::describe(&system, load_before).await?;
        anyhow::Ok(())
    }
    .await;
    system.shut_down().await;
    println!("{report}");
    outcome?;
    report.check()
}
