//! The server side of the control socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{Reply, Request, SOCKET};
use crate::error::StackError;
use crate::stack::Stack;

/// The size limit of a request. The environment of a process is no larger.
const REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Handles the requests of commands. Only the supervisor that holds the lock of the checkout
/// listens.
#[derive(Clone, Debug)]
pub struct ControlServer {
    stack: Arc<Stack>,
    /// Canceled when everything is down and the supervisor may exit.
    exit: CancellationToken,
}

impl ControlServer {
    /// Creates a server that cancels `exit` when everything is down.
    pub fn new(stack: Arc<Stack>, exit: CancellationToken) -> Self {
        Self { stack, exit }
    }

    /// Listens on the control socket, and replaces the socket of a killed supervisor.
    pub fn listen() -> io::Result<UnixListener> {
        let _missing = std::fs::remove_file(SOCKET);
        UnixListener::bind(SOCKET)
    }

    /// Serves every connection in its own task. Never returns.
    pub async fn serve(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move { server.serve_connection(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "supervisor cannot accept a control connection; retrying");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve_connection(&self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let read = (&mut stream).take(REQUEST_BYTES_MAX).read_line(&mut line).await;
        match serde_json::from_str(&line) {
            Ok(request) => self.handle(request, &mut stream).await,
            Err(_) if read.is_err() || line.is_empty() => {}
            Err(error) => {
                let reason = format!(
                    "another build of mayfly supervises this stack; run `make down` first ({error})"
                );
                reply(&mut stream, &Reply::Failed(reason)).await;
            }
        }
    }

    async fn handle(&self, request: Request, stream: &mut BufReader<UnixStream>) {
        let to_reply = match request {
            Request::Apply(spec) => done_or_failed(self.stack.apply(*spec).await),
            Request::Stop(kind) => done_or_failed(self.stack.stop(kind).await),
            Request::Start(kind) => done_or_failed(self.stack.start(kind).await),
            Request::Status => self.stack.status().await.map_or_else(failed, Reply::Status),
            Request::Spec => Reply::Spec(self.stack.spec().map(Box::new)),
            Request::Attach => return self.attach(stream).await,
            Request::Down => {
                self.stop_stack().await;
                reply(stream, &Reply::Done).await;
                return self.exit.cancel();
            }
        };
        reply(stream, &to_reply).await;
    }

    /// Waits until the client disconnects, then shuts down.
    async fn attach(&self, stream: &mut BufReader<UnixStream>) {
        reply(stream, &Reply::Done).await;
        let mut ignored = Vec::new();
        let _disconnected = stream.read_to_end(&mut ignored).await;
        self.shut_down().await;
    }

    /// Stops everything and lets the supervisor exit.
    pub async fn shut_down(&self) {
        self.stop_stack().await;
        self.exit.cancel();
    }

    async fn stop_stack(&self) {
        if let Err(error) = self.stack.down().await {
            tracing::warn!(%error, "supervisor cannot stop the stack gracefully; its processes are killed");
        }
    }
}

fn done_or_failed(result: Result<(), StackError>) -> Reply {
    result.map_or_else(failed, |()| Reply::Done)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of `map_or_else`")]
fn failed(error: StackError) -> Reply {
    Reply::Failed(error.to_string())
}

/// Sends a reply. Ignores a client that has disconnected.
async fn reply(stream: &mut BufReader<UnixStream>, reply: &Reply) {
    let mut line = serde_json::to_string(reply).unwrap_or_default();
    line.push('\n');
    if let Err(error) = stream.get_mut().write_all(line.as_bytes()).await {
        tracing::debug!(%error, "client disconnected before the reply");
    }
}
