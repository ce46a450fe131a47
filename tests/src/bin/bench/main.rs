//! `make bench` and `make bench-quick`: the throughput of Mayfly as ratios to baselines that run on
//! the same machine at the same time. Unlike absolute numbers, ratios remain comparable when the
//! machine is busy, and between machines.
//!
//! A run starts a complete system with its own durable servers. It compares ingest and hot reads
//! with a bare actix-web handler, fan-out with plain write loops, draining with `\copy`, and
//! counting plays among a million other videos with counting plays without other videos.
//!
//! With `--keys`, a run starts two complete systems, and compares ingest, hot reads and fan-out by
//! callers with an API key with the same in the mode `open`, which checks no credentials.

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
    system::{Modes, System},
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
    /// Compares the mode `keys` with the mode `open`, instead of Mayfly with the baselines.
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
        Some(Command::Quick) => measure(Effort::QUICK, &command_line.only, command_line.keys),
        None => measure(Effort::FULL, &command_line.only, command_line.keys),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(effort: Effort, only: &[Measurement], keys: bool) -> anyhow::Result<()> {
    let is_selected = |one| only.is_empty() || only.contains(&one);
    load_runtime()?.block_on(async {
        let measured = async {
            if keys {
                compare_modes(&effort.to_compare_modes(), is_selected).await
            } else {
                measure_all(&effort, is_selected).await
            }
        };
        tokio::select! {
            outcome = measured => outcome,
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

async fn measure_all(
    effort: &Effort,
    is_selected: impl Fn(Measurement) -> bool,
) -> anyhow::Result<()> {
    let load_before = report::load_average();
    eprintln!("starting the system ...");
    let mut system = System::start(false).await?;
    let mut report = Report::default();
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

/// Compares the mode `keys` with the mode `open`. Counting and draining check no credentials.
async fn compare_modes(
    effort: &Effort,
    is_selected: impl Fn(Measurement) -> bool,
) -> anyhow::Result<()> {
    let load_before = report::load_average();
    eprintln!("starting two systems ...");
    let mut modes = Modes::start().await?;
    let mut report = Report::default();
    report.notes.push(
        "mode keys: every request and handshake contains an API key, without patterns".to_owned(),
    );
    let outcome = async {
        if is_selected(Measurement::Ingest) {
            ingest::compare_modes(&mut modes, effort, &mut report).await?;
        }
        if is_selected(Measurement::HotRead) {
            hot_read::compare_modes(&mut modes, effort, &mut report).await?;
        }
        if is_selected(Measurement::FanOut) {
            fan_out::compare_modes(&mut modes, effort, &mut report).await?;
        }
        report.about = report::describe(&modes.keys, load_before).await?;
        anyhow::Ok(())
    }
    .await;
    modes.shut_down().await;
    println!("{report}");
    outcome?;
    report.check()
}
