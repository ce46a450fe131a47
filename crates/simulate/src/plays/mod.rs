//! `mayfly simulate plays`: sends video plays and checks that the produced, counted and published
//! plays match.

mod distribution;
mod outcome;
mod producers;
mod published_counts;
mod report;
pub(crate) mod reset;
mod simulation;
mod stored_counts;
mod subscriber;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use mayfly_live_client::terminal::{print, print_err};
use mayfly_stack::control::Checkout;
use mayfly_stack::{Service, Spec};
use tokio_util::sync::CancellationToken;

use crate::INTERRUPTED;
use crate::options::PlaysOptions;
use crate::stack::local_stack::LocalStack;
use distribution::Distribution;
use report::ReportFile;
use simulation::Simulation;

/// The prefix of the IDs of simulated videos.
const VIDEO_ID_PREFIX: &str = "sim-";

/// The services that must have at least one instance before the simulation. persist-worker is
/// not required, because the simulation sets the number of workers.
const REQUIRED_SERVICES: [Service; 3] =
    [Service::IngestApi, Service::WsFanout, Service::StatsPublisher];

/// Runs the simulation on the local stack. Changes the stack for the simulation and restores the
/// stack afterward, even if the simulation fails or is interrupted. `prepare_spec` returns the spec
/// to start if the stack is down.
pub async fn simulate_plays(
    options: &PlaysOptions,
    prepare_spec: impl FnOnce(&Checkout) -> Result<Spec>,
    interrupt: CancellationToken,
) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    let distribution = Distribution::new(options.messages, options.videos, seed)?;
    let report = options.report.as_deref().map(ReportFile::prepare).transpose()?;
    let stack = if options.start {
        LocalStack::find_or_prepare(prepare_spec).await?
    } else {
        let running = LocalStack::find().await?;
        running.context("Mayfly is down; start it with `make up`, or use --start")?
    };
    check_stack(&stack, options)?;
    print(&describe(options, &distribution, seed));
    let simulation = Simulation { stack: &stack, options, distribution: &distribution };
    let result = tokio::select! {
        result = simulation.run() => Some(result),
        () = interrupt.cancelled() => None,
    };
    if result.is_none() {
        print_err(
            "interrupted; queued plays will still be counted; delete them with `mayfly simulate reset`",
        );
    }
    // Another interrupt does not cancel the restore.
    let restored = stack.restore().await;
    let Some(result) = result else { return restored.map(|()| ExitCode::from(INTERRUPTED)) };
    let reported = result.and_then(|outcome| {
        outcome.print();
        if let Some(report) = report {
            report.write(&outcome.report_lines(&outcome.consumption_report()))?;
        }
        Ok(outcome.is_success())
    });
    match (restored, reported) {
        (Ok(()), Ok(true)) => Ok(ExitCode::SUCCESS),
        (Ok(()), Ok(false)) => Ok(ExitCode::FAILURE),
        (Ok(()), Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Err(restore_error), Err(error)) => {
            print_err(&format!("{restore_error:#}"));
            Err(error)
        }
    }
}

/// Returns an error if the stack cannot run the simulation.
fn check_stack(stack: &LocalStack, options: &PlaysOptions) -> Result<()> {
    for service in REQUIRED_SERVICES {
        ensure!(stack.count(service) > 0, "{} is required, but scaled to 0", service.name());
    }
    let depth_max = stack.service_settings()?.queue.depth_max;
    ensure!(
        options.live || options.messages <= depth_max,
        "{} plays exceed the maximum queue depth of {depth_max} (MAYFLY_QUEUE__DEPTH_MAX): use --live or fewer plays",
        options.messages
    );
    Ok(())
}

/// Describes the parameters of the simulation.
fn describe(options: &PlaysOptions, distribution: &Distribution, seed: u64) -> String {
    let producers = options.consumers * options.producers_per_consumer;
    let mode = if options.live {
        "live: counted as they arrive"
    } else {
        "backed up: queued first, then counted"
    };
    let videos = format!(
        "{}, {} of them with fewer than 100 plays",
        options.videos,
        distribution.count_small()
    );
    let mut text = String::new();
    for (name, value) in [
        ("messages", options.messages.to_string()),
        ("videos", videos),
        ("consumers", format!("{} persist-worker", options.consumers)),
        ("producers", producers.to_string()),
        ("updater", "1 (the stats-publisher that is the leader)".to_owned()),
        ("interval", format!("{} s", options.interval)),
        ("mode", mode.to_owned()),
        ("seed", seed.to_string()),
    ] {
        let _infallible = writeln!(text, "{name:<11}{value}");
    }
    text
}

/// Returns a clause that states the number of queued plays.
fn describe_queued(plays: u64) -> String {
    match plays {
        1 => "1 play is still queued".to_owned(),
        _ => format!("{plays} plays are still queued"),
    }
}
