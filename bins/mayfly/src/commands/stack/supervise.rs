//! `mayfly supervise`: the background process that supervises the local stack.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use mayfly_stack::control::{Checkout, ControlServer, SOCKET};
use mayfly_stack::{Spec, Stack};
use nix::unistd::{close, setsid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) fn supervise() -> Result<ExitCode> {
    detach_from_caller();
    let checkout = Checkout::enter()?;
    let Some(_lock) = try_lock(&checkout)? else {
        // A concurrent supervisor holds the lock. The command that started this one finds it.
        return Ok(ExitCode::SUCCESS);
    };
    tracing_subscriber::fmt().with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&checkout))?;
    let _missing = std::fs::remove_file(SOCKET);
    Ok(ExitCode::SUCCESS)
}

/// Starts a new session and closes the inherited file descriptors, so that no caller waits
/// for this process at the other end of a pipe.
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

/// Acquires the lock of the checkout for the lifetime of this process; `None` if another
/// supervisor holds it.
fn try_lock(checkout: &Checkout) -> Result<Option<File>> {
    let path = checkout.paths.lock();
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    Ok(file.try_lock().is_ok().then_some(file))
}

async fn serve(checkout: &Checkout) -> Result<()> {
    let stack = Arc::new(Stack::new(&Spec::new(checkout.paths.root(), &checkout.bin_dir))?);
    let exit = CancellationToken::new();
    let server = ControlServer::new(stack, exit.clone());
    let listener = ControlServer::listen().context(SOCKET)?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        () = server.serve(&listener) => {}
        () = exit.cancelled() => {}
        _ = terminate.recv() => server.shut_down().await,
    }
    Ok(())
}
