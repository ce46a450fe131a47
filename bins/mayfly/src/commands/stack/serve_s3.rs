//! `mayfly serve-s3`: serves a directory over the S3 protocol.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};

use crate::command_line::ServeS3;
use crate::signals::cancel_on_signal;

/// The time limit for `--check`.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn serve_s3(options: ServeS3) -> Result<ExitCode> {
    if options.check {
        // Connecting to 0.0.0.0 reaches a server that listens on all addresses.
        let connected = tokio::time::timeout(CHECK_TIMEOUT, TcpStream::connect(options.listen));
        let is_listening = connected.await.is_ok_and(|connected| connected.is_ok());
        return Ok(if is_listening { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let shutdown = cancel_on_signal()?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| options.listen.to_string())?;
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
