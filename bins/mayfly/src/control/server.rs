//! The side of the supervisor.

use std::io;
use std::sync::Arc;

use mayfly_stack::Stack;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{Reply, Request, SOCKET};

/// No request is longer: the environment of a process is not either.
const REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Takes the requests of commands. Only one supervisor of a checkout listens: it has the lock.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    stack: Arc<Stack>,
    /// Cancelled when all is down and the supervisor may end.
    ended: CancellationToken,
}

impl Server {
    pub(crate) fn new(stack: Arc<Stack>, ended: CancellationToken) -> Self {
        Self { stack, ended }
    }

    /// Listens in place of a supervisor that was killed.
    pub(crate) fn listen() -> io::Result<UnixListener> {
        let _absent = std::fs::remove_file(SOCKET);
        UnixListener::bind(SOCKET)
    }

    /// Serves every connection in a task of its own, for ever.
    pub(crate) async fn serve(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move { server.answer(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a command could not be heard");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn answer(&self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let read = (&mut stream).take(REQUEST_BYTES_MAX).read_line(&mut line).await;
        let request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(_) if read.is_err() || line.is_empty() => return,
            Err(error) => {
                return reply(&mut stream, &Reply::Failed(format!("another build of mayfly supervises this stack, run `make down` first ({error})")))
                    .await;
            }
        };
        self.obey(request, &mut stream).await;
    }

    async fn obey(&self, request: Request, stream: &mut BufReader<UnixStream>) {
        let done = match request {
            Request::Apply(spec) => self.stack.apply(*spec).await,
            Request::Stop(part) => self.stack.stop(part).await,
            Request::Start(part) => self.stack.start(part).await,
            Request::Attach => return self.stay_attached(stream).await,
            Request::Down => return self.go_down(stream).await,
            Request::Status => return self.tell_status(stream).await,
            Request::Spec => {
                return reply(stream, &Reply::Spec(self.stack.spec().map(Box::new))).await;
            }
        };
        reply(
            stream,
            &done.map_or_else(|error| Reply::Failed(error.to_string()), |()| Reply::Done),
        )
        .await;
    }

    async fn tell_status(&self, stream: &mut BufReader<UnixStream>) {
        let told = self.stack.status().await;
        reply(stream, &told.map_or_else(|error| Reply::Failed(error.to_string()), Reply::Status))
            .await;
    }

    /// Brings all down as soon as the other side is gone.
    async fn stay_attached(&self, stream: &mut BufReader<UnixStream>) {
        reply(stream, &Reply::Done).await;
        let mut rest = Vec::new();
        let _gone = stream.read_to_end(&mut rest).await;
        self.end().await;
    }

    async fn go_down(&self, stream: &mut BufReader<UnixStream>) {
        self.stop_all().await;
        reply(stream, &Reply::Done).await;
        self.ended.cancel();
    }

    /// Brings all down and lets the supervisor end.
    pub(crate) async fn end(&self) {
        self.stop_all().await;
        self.ended.cancel();
    }

    async fn stop_all(&self) {
        if let Err(error) = self.stack.down().await {
            tracing::warn!(%error, "the stack did not go down in order");
        }
    }
}

/// A command that does not wait for its reply misses it.
async fn reply(stream: &mut BufReader<UnixStream>, reply: &Reply) {
    let mut line = serde_json::to_string(reply).unwrap_or_default();
    line.push('\n');
    if let Err(error) = stream.get_mut().write_all(line.as_bytes()).await {
        tracing::debug!(%error, "a command did not wait for its reply");
    }
}
