//! A file-backed S3 server, built from the crates `s3s` and `s3s-fs`.

use std::io;
use std::path::Path;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The time limit for requests in progress at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the objects below `root` to clients with these credentials, until `shutdown` is canceled.
pub async fn serve_s3(
    listener: TcpListener,
    root: &Path,
    access_key: &str,
    secret_key: &str,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let files = FileSystem::new(root)
        .map_err(|error| io::Error::other(format!("{}: {error:?}", root.display())))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    accept_connections(listener, &builder.build(), shutdown).await;
    Ok(())
}

async fn accept_connections(
    listener: TcpListener,
    service: &S3Service,
    shutdown: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve_connection(stream, service.clone(), &graceful),
                Err(error) => back_off(&error).await,
            },
            () = shutdown.cancelled() => break,
        }
    }
    drop(listener);
    let _timed_out = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

fn serve_connection(stream: TcpStream, service: S3Service, graceful: &GracefulShutdown) {
    let server = Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection closed with an error");
        }
    });
}

/// Waits before the next accept. If the process has run out of file descriptors, connections that
/// close in the meantime free some.
async fn back_off(error: &io::Error) {
    tracing::warn!(%error, "S3 server cannot accept a connection; retrying");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
