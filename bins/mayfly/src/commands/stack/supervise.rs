//! `mayfly supervise`: the background process that supervises the local stack.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use mayfly_runtime::{StopSignals, exit_on_panic, wait_for_panic};
use mayfly_stack::control::{Checkout, ControlServer, SOCKET};
use mayfly_stack::{Spec, Stack, complete_reset};
use nix::unistd::{close, setsid};
use tokio_util::sync::CancellationToken;

pub(crate) fn supervise() -> Result<ExitCode> {
    detach_from_caller();
    let checkout = Checkout::enter()?;
    let Some(_lock) = checkout.lock()? else {
        // Another supervisor holds the lock. The command that started this process connects to that
        // supervisor.
        return Ok(ExitCode::SUCCESS);
    };
    // A log line that cannot be written, for example to a full disk, must not stop the stack.
    tracing_subscriber::fmt().with_ansi(false).log_internal_errors(false).init();
    complete_reset(checkout.paths.root())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&checkout))?;
    let _missing = std::fs::remove_file(SOCKET);
    Ok(ExitCode::SUCCESS)
}

/// Starts a new session and closes all inherited file descriptors except the standard streams, so
/// that no caller waits for this process to close a pipe.
fn detach_from_caller() {
    let _already_leader = setsid();
    let open: Vec<i32> = std::fs::read_dir("/dev/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _already_closed = close(descriptor);
    }
}

async fn serve(checkout: &Checkout) -> Result<()> {
    let mut signals = StopSignals::install()?;
    let stack = Arc::new(Stack::new(&Spec::new(checkout.paths.root(), &checkout.bin_dir))?);
    let exit = CancellationToken::new();
    let server = ControlServer::new(stack, exit.clone());
    let listener = ControlServer::listen().context(SOCKET)?;
    let accepting = server.clone();
    // The server also runs during a shutdown, so that commands can wait for the shutdown to finish.
    tokio::spawn(exit_on_panic("accept control connections", async move {
        accepting.serve(&listener).await;
    }));
    let unused = server.clone();
    tokio::spawn(exit_on_panic("shut down an unused supervisor", async move {
        unused.shut_down_if_unused().await;
    }));
    tokio::select! {
        () = exit.cancelled() => {}
        () = shut_down_on_signal(&mut signals, &server) => {}
        // The end of this process stops the processes of the stack.
        task = wait_for_panic() => bail!("the task `{task}` panicked; supervisor is exiting"),
    }
    Ok(())
}

/// Shuts down the stack on the first signal. On the second signal, returns without waiting for the
/// shutdown to finish. Ignores SIGHUP, because the stack does not depend on a terminal and has no
/// file to reload.
async fn shut_down_on_signal(signals: &mut StopSignals, server: &ControlServer) {
    let signal = signals.receive_except_hangup().await.as_raw_value();
    tracing::info!(signal, "supervisor is shutting down the stack");
    tokio::select! {
        () = server.shut_down() => {}
        _ = signals.receive_except_hangup() => {
            tracing::warn!(
                "second signal: supervisor is killing the stack without finishing the shutdown"
            );
        }
    }
}
