//! `mayfly simulate plays`: plays videos, has the plays counted and published, and checks that all three agree.

mod counted;
mod distribution;
mod outcome;
mod producers;
mod published;
mod report;
mod run;
mod subscriber;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use mayfly_stack::Service;

use super::INTERRUPTED;
use super::local_stack::LocalStack;
use crate::command_line::SimulatePlays;
use crate::output::{remark, say};
use crate::signals::Signals;
use distribution::Distribution;
use report::ReportFile;
use run::Run;

/// Who has to be there, in whatever number; the workers are counted by the run.
const NEEDED: [Service; 3] = [Service::IngestApi, Service::WsFanout, Service::StatsPublisher];

/// Runs the simulation on a stack that is changed for it, and puts the stack back however it ends.
pub(super) async fn simulate_plays(options: SimulatePlays) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    let distribution = Distribution::new(options.messages, options.videos, seed)?;
    let report = options.report.as_deref().map(ReportFile::prepare).transpose()?;
    // From here on: nothing may cut it off while it puts a stack back.
    let mut signals = Signals::catch()?;
    let stack = if options.start {
        LocalStack::find_or_prepare().await?
    } else {
        let running = LocalStack::find().await?;
        running.context("Mayfly is down; `make up` starts it, or --start")?
    };
    check(&stack, &options)?;
    say(&describe(&options, &distribution, seed));
    let run = Run { stack: &stack, options: &options, distribution: &distribution };
    let ended = tokio::select! {
        ended = run.go() => Some(ended),
        () = signals.wait() => None,
    };
    if ended.is_none() {
        remark(
            "interrupted; what is queued is counted all the same, `mayfly simulate reset` removes it",
        );
    }
    // Signals stay caught: a second one does not keep the stack from being put back.
    let back = stack.put_back().await;
    let Some(ended) = ended else { return back.map(|()| ExitCode::from(INTERRUPTED)) };
    let reported = ended.and_then(|outcome| {
        outcome.say();
        if let Some(report) = report {
            report.write(&outcome.lines(&outcome.consumed()))?;
        }
        Ok(outcome.is_right())
    });
    match (back, reported) {
        (Ok(()), Ok(true)) => Ok(ExitCode::SUCCESS),
        (Ok(()), Ok(false)) => Ok(ExitCode::FAILURE),
        (Ok(()), Err(error)) | (Err(error), Ok(_)) => Err(error),
        (Err(not_put_back), Err(error)) => {
            remark(&format!("{not_put_back:#}"));
            Err(error)
        }
    }
}

/// Refuses what this stack cannot do.
fn check(stack: &LocalStack, options: &SimulatePlays) -> Result<()> {
    for service in NEEDED {
        ensure!(
            stack.count(service) > 0,
            "this stack has no {}: it is scaled to 0",
            service.name()
        );
    }
    let depth = stack.service_settings()?.queue.depth_max;
    ensure!(
        options.live || options.messages <= depth,
        "{} plays are more than may be queued at once, {depth} (MAYFLY_QUEUE__DEPTH_MAX): give --live, or fewer",
        options.messages
    );
    Ok(())
}

/// What is simulated.
fn describe(options: &SimulatePlays, distribution: &Distribution, seed: u64) -> String {
    let producers = options.consumers * options.producers_per_consumer;
    let mode = if options.live {
        "live: counted as they come"
    } else {
        "backed up: queued first, then counted"
    };
    let mut text = String::new();
    for (name, value) in [
        ("messages", options.messages.to_string()),
        (
            "videos",
            format!(
                "{}, {} of them with fewer than 100 plays",
                options.videos,
                distribution.small()
            ),
        ),
        ("consumers", format!("{} persist-worker", options.consumers)),
        ("producers", producers.to_string()),
        ("updater", "1, the stats-publisher that leads".to_owned()),
        ("interval", format!("{} s", options.interval)),
        ("mode", mode.to_owned()),
        ("seed", seed.to_string()),
    ] {
        let _written = writeln!(text, "{name:<11}{value}");
    }
    text
}
