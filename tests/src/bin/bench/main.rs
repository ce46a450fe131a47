//! `make bench` and `make bench-quick`: how fast Mayfly is, as ratios to what the same machine does
//! at the same time without it. Ratios hold where absolute figures do not: on a busy machine, on
//! another one, next year.
//!
//! One run starts a whole system with servers of its own, as durable as people's data is, and
//! measures ingest and hot reads against a bare actix-web handler, fan-out against bare loops of writes,
//! draining against `\copy`, and counting plays against counting them beside a million other videos.

mod bare;
mod connection;
mod count;
mod drain;
mod effort;
mod fan_out;
mod hot_read;
mod ingest;
mod load;
mod machine;
mod report;
mod requests;
mod rounds;
mod statistics;
mod system;

use std::{num::NonZeroUsize, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use crate::{effort::Effort, report::Report, system::System};

/// As the services have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures how fast Mayfly is, as ratios to what this machine does without it.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measures only this; may be given several times.
    #[arg(long, global = true)]
    only: Vec<Measurement>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fewer and shorter rounds: some three minutes.
    Quick,
    /// The bare handler that Mayfly is measured against, until its standard input ends.
    #[command(hide = true)]
    Bare(bare::Arguments),
    /// A bare loop that Mayfly's fan-out is measured against, until its standard input ends.
    #[command(hide = true)]
    Floor(fan_out::Arguments),
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
        Some(Command::Bare(arguments)) => bare::serve(&arguments),
        Some(Command::Floor(arguments)) => fan_out::serve(&arguments),
        Some(Command::Quick) => measure(&Effort::QUICK, &command_line.only),
        None => measure(&Effort::FULL, &command_line.only),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(effort: &Effort, only: &[Measurement]) -> anyhow::Result<()> {
    load_runtime()?.block_on(async {
        tokio::select! {
            outcome = measure_all(effort, only) => outcome,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })
}

/// The load comes from half of the cores: less could be the bottleneck of a large machine, more
/// would take from what is measured.
fn load_runtime() -> std::io::Result<Runtime> {
    match cores() / 2 {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

async fn measure_all(effort: &Effort, only: &[Measurement]) -> anyhow::Result<()> {
    let wanted = |one| only.is_empty() || only.contains(&one);
    let load_before = machine::load_average();
    eprintln!("starting the system ...");
    let mut system = System::start().await?;
    let mut report = Report::default();
    let outcome = async {
        if wanted(Measurement::Ingest) {
            ingest::measure(&mut system, effort, &mut report).await?;
        }
        if wanted(Measurement::HotRead) {
            hot_read::measure(&mut system, effort, &mut report).await?;
        }
        if wanted(Measurement::FanOut) {
            fan_out::measure(&mut system, effort, &mut report).await?;
        }
        if wanted(Measurement::Count) {
            count::measure(&mut system, effort, &mut report).await?;
        }
        if wanted(Measurement::Drain) {
            drain::measure(&mut system, effort, &mut report).await?;
        }
        report.about = machine::describe(&system, load_before).await?;
        anyhow::Ok(())
    }
    .await;
    system.end().await;
    println!("{report}");
    outcome?;
    report.check()
}
