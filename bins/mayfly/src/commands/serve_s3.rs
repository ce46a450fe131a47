//! `mayfly serve-s3`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::command_line::ServeS3;

pub(crate) async fn serve_s3(options: ServeS3) -> Result<ExitCode> {
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
