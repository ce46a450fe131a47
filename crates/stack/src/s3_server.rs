//! An S3 server on files: s3s speaks the protocol, s3s-fs keeps the objects.

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

/// How long requests that run may take to finish.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Serves the objects below `root` to whoever has the keys, until `shutdown`.
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
    accept(listener, &builder.build(), shutdown).await;
    Ok(())
}

async fn accept(listener: TcpListener, service: &S3Service, shutdown: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve(stream, service.clone(), &graceful),
                Err(error) => refuse(&error).await,
            },
            () = shutdown.cancelled() => break,
        }
    }
    drop(listener);
    let _late = tokio::time::timeout(FINISH_WITHIN, graceful.shutdown()).await;
}

fn serve(stream: TcpStream, service: S3Service, graceful: &GracefulShutdown) {
    let server = Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

/// Out of file descriptors, say: what is served now will free some.
async fn refuse(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
