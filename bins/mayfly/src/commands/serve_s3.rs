//! `mayfly serve-s3`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::command_line::ServeS3;

/// How long a server may take to let one in who asks whether it is there.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn serve_s3(options: ServeS3) -> Result<ExitCode> {
    if options.check {
        // Who listens on all addresses is found at the first of this machine.
        let listens = tokio::time::timeout(CHECK_WITHIN, TcpStream::connect(options.listen)).await;
        let is_there = listens.is_ok_and(|connected| connected.is_ok());
        return Ok(if is_there { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| options.listen.to_string())?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        told.cancel();
    });
    mayfly_stack::serve_s3(
        listener,
        &options.root,
        &options.access_key,
        &options.secret_key,
        shutdown,
    )
    .await?;
    Ok(ExitCode::SUCCESS)
}
