//! The entry point of every service, from the command line to the exit code.

use std::{
    future::Future,
    io::{Write as _, stderr, stdout},
    pin::Pin,
    process::ExitCode,
};

use anyhow::Context;
use tokio::runtime::Runtime;
use tracing::error;

use super::{
    Lifecycle, Process,
    check_ready::check_ready,
    command_line::{CommandLine, OneShot},
    open_files,
    panics::{exit_on_panic, wait_for_panic},
    signals::StopSignals,
};
use crate::{
    MetricsHandle, Service, Settings,
    metrics::Metric,
    redact::{LogRedaction, redact},
    telemetry,
};

/// `EX_CONFIG` of sysexits.h: the configuration is invalid, so a restart does not help.
const EXIT_CONFIG: u8 = 78;

/// The body of a service, from its start to the end of its drain.
///
/// The future is boxed, so that the service's library crate compiles it. If the future were a
/// generic parameter, the binary crate would compile the whole service again.
pub type ServiceFuture = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Runs a service, or the one-shot command that the command line requests, and returns the exit
/// code. `metrics` contains the tables of the metrics that the service exports.
///
/// The exit code is 0 if `body` succeeds, and 78 if the configuration is invalid. The exit code is
/// 1 if the service cannot start for another reason, if `body` fails or does not complete within
/// `lifecycle.shutdown_timeout` after the first signal, or if an essential task panics
/// ([`exit_on_panic`]). After the first signal, the next signal other than SIGHUP exits the process
/// immediately with 128 plus the number of the signal.
pub fn run(
    service: Service,
    metrics: &[&[Metric]],
    body: fn(Process) -> ServiceFuture,
) -> ExitCode {
    let command_line = CommandLine::parse(service);
    let settings = match Settings::load_for(service) {
        Ok(settings) => settings,
        Err(error) => {
            let _closed = writeln!(stderr(), "{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match command_line.one_shot {
        Some(OneShot::CheckConfig) => {
            // A closed standard output is not an error.
            let _closed = writeln!(stdout(), "configuration is valid");
            return ExitCode::SUCCESS;
        }
        Some(OneShot::CheckReady) => return check_ready(settings.admin.listen),
        None => {}
    }
    let redaction = LogRedaction::new(settings.list_secrets());
    if let Err(error) = telemetry::init(&settings.log, redaction) {
        let _closed = writeln!(stderr(), "{error:#}");
        return ExitCode::FAILURE;
    }
    match run_process(service, settings, metrics, body) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = format!("{error:#}");
            error!(service.name = %service, error = &*redact(&cause), "service failed, exiting");
            ExitCode::FAILURE
        }
    }
}

fn run_process(
    service: Service,
    mut settings: Settings,
    metrics: &[&[Metric]],
    body: fn(Process) -> ServiceFuture,
) -> anyhow::Result<()> {
    open_files::fit_connections(service, &mut settings);
    let metrics = MetricsHandle::install(service, metrics)?;
    let process = Process::with_metrics(service, settings, metrics.clone());
    let lifecycle = process.lifecycle.clone();
    let failures = process.failures.clone();

    let runtime = Runtime::new().context("cannot create the async runtime")?;
    let outcome = runtime.block_on(async {
        let signals = StopSignals::install().context("cannot install the signal handlers")?;
        tokio::spawn(exit_on_panic("handle signals", signals.run(lifecycle.clone())));
        tokio::spawn(exit_on_panic("maintain metrics", metrics.run_upkeep()));
        tokio::spawn(exit_on_panic("log failures", process.failures.clone().run()));
        tokio::select! {
            outcome = body(process) => outcome,
            task = wait_for_panic() => anyhow::bail!("the task `{task}` panicked"),
            () = wait_for_shutdown_timeout(&lifecycle) => {
                let timeout = lifecycle.shutdown_timeout();
                anyhow::bail!(
                    "shutdown did not complete within lifecycle.shutdown_timeout ({timeout:?})"
                )
            }
        }
    });
    failures.flush();
    // Remaining tasks have no state to save, and a blocked thread must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// Completes when the shutdown timeout has elapsed since the drain began.
async fn wait_for_shutdown_timeout(lifecycle: &Lifecycle) {
    lifecycle.draining().cancelled().await;
    tokio::time::sleep(lifecycle.shutdown_timeout()).await;
}
