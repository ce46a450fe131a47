//! From the command line to the exit code: the frame around every service.

use std::{future::Future, process::ExitCode};

use anyhow::Context;
use tokio::runtime::Runtime;
use tracing::error;

use crate::{
    Lifecycle, MetricsHandle, Process, Service, Settings,
    command_line::{CommandLine, Errand},
    open_files,
    readiness::check_ready,
    redact,
    signals::Signals,
    telemetry,
};

/// `EX_CONFIG` of sysexits: the configuration is wrong, and starting again will not help.
const EXIT_CONFIG: u8 = 78;

/// Runs a service to its end and gives its exit code.
///
/// 0 when `body` ended well, 1 when it failed or took longer than `lifecycle.shutdown_timeout` after the first signal,
/// 78 when the configuration is wrong. A second signal ends the process at once with 128 and the number of the signal.
pub fn run<F, Fut>(service: Service, body: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let command_line = CommandLine::parse(service);
    let settings = match Settings::load() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match command_line.errand {
        Some(Errand::CheckConfig) => {
            println!("configuration is valid");
            return ExitCode::SUCCESS;
        }
        Some(Errand::CheckReady) => return check_ready(settings.admin.listen),
        None => {}
    }
    if let Err(error) = telemetry::init(&settings.log) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    match run_process(service, settings, body) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = &*redact(&format!("{error:#}")), "failed");
            ExitCode::FAILURE
        }
    }
}

fn run_process<F, Fut>(service: Service, settings: Settings, body: F) -> anyhow::Result<()>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    open_files::raise_limit();
    let metrics = MetricsHandle::install(service)?;
    let process = Process::with_metrics(service, settings, metrics.clone());
    let lifecycle = process.lifecycle.clone();

    let runtime = Runtime::new().context("the async runtime")?;
    let outcome = runtime.block_on(async {
        let signals = Signals::catch().context("signals")?;
        tokio::spawn(signals.obey(lifecycle.clone()));
        tokio::spawn(metrics.keep_up());
        tokio::select! {
            outcome = body(process) => outcome,
            () = run_out_of_time(&lifecycle) => {
                let timeout = lifecycle.shutdown_timeout();
                anyhow::bail!("not done within lifecycle.shutdown_timeout ({timeout:?}) of the first signal")
            }
        }
    });
    // Whatever still runs has nothing left to save: a blocked thread must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// Ends when the time to leave is over.
async fn run_out_of_time(lifecycle: &Lifecycle) {
    lifecycle.draining().cancelled().await;
    tokio::time::sleep(lifecycle.shutdown_timeout()).await;
}
