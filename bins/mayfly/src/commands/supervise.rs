//! `mayfly supervise`: the process in the background that has the stack.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use mayfly_stack::{Spec, Stack};
use nix::unistd::{close, setsid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::checkout::Checkout;
use crate::control::{SOCKET, Server};

pub(crate) fn supervise() -> Result<ExitCode> {
    let_go_of_caller();
    let checkout = Checkout::enter()?;
    let Some(_lock) = take_lock(&checkout)? else {
        // Another one was quicker; the command that started this one will find it.
        return Ok(ExitCode::SUCCESS);
    };
    tracing_subscriber::fmt().with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&checkout))?;
    let _absent = std::fs::remove_file(SOCKET);
    Ok(ExitCode::SUCCESS)
}

/// Leaves the caller's session, and closes what it had open: nobody may wait for us at the other end of a pipe.
fn let_go_of_caller() {
    let _leader = setsid();
    let open: Vec<i32> = std::fs::read_dir("/dev/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _closed = close(descriptor);
    }
}

/// Takes the lock of the checkout, which ends with this process; `None` when another one has it.
fn take_lock(checkout: &Checkout) -> Result<Option<File>> {
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
    let ended = CancellationToken::new();
    let server = Server::new(stack, ended.clone());
    let listener = Server::listen().context(SOCKET)?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        () = server.serve(&listener) => {}
        () = ended.cancelled() => {}
        _ = terminate.recv() => server.end().await,
    }
    Ok(())
}
