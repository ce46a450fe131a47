//! The server side of the control socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mayfly_runtime::exit_on_panic;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{Reply, Request, SOCKET};
use crate::error::StackError;
use crate::spec::Spec;
use crate::stack::Stack;

/// The maximum size of a request, in bytes. A request contains environment variables, and the
/// environment of a process is usually smaller than this limit.
const REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A supervisor without a stack exits if no command is connected in this number of consecutive
/// checks. The command that started the supervisor may have been killed.
const UNUSED_CHECKS_MAX: u32 = 5;
/// The interval between these checks.
const UNUSED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A server that handles the requests of commands. Only the supervisor that holds the lock of the
/// checkout listens.
#[derive(Clone, Debug)]
pub struct ControlServer {
    stack: Arc<Stack>,
    /// Canceled when everything is down and the supervisor may exit.
    exit: CancellationToken,
    /// The number of open connections.
    connections: Arc<AtomicUsize>,
    /// The number of specs that are being applied.
    applying: Arc<AtomicUsize>,
    /// Whether a client has started the stack. If so, the stack stays up when a client disconnects
    /// while a spec is being applied.
    is_up: Arc<AtomicBool>,
}

impl ControlServer {
    /// Creates a server that cancels `exit` when everything is down.
    pub fn new(stack: Arc<Stack>, exit: CancellationToken) -> Self {
        Self {
            stack,
            exit,
            connections: Arc::default(),
            applying: Arc::default(),
            is_up: Arc::default(),
        }
    }

    /// Listens on the control socket, and replaces the socket of a killed supervisor.
    pub fn listen() -> io::Result<UnixListener> {
        let _missing = std::fs::remove_file(SOCKET);
        UnixListener::bind(SOCKET)
    }

    /// Serves every connection in its own task. Never completes.
    pub async fn serve(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    self.connections.fetch_add(1, Ordering::AcqRel);
                    tokio::spawn(exit_on_panic("serve a control connection", async move {
                        server.serve_connection(stream).await;
                        server.connections.fetch_sub(1, Ordering::AcqRel);
                    }));
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
            Request::Apply(spec) => return self.apply(*spec, stream).await,
            Request::Stop(kind) => done_or_failed(self.stack.stop(kind).await),
            Request::Start(kind) => done_or_failed(self.stack.start(kind).await),
            Request::Status => self.stack.status().await.map_or_else(failed, Reply::Status),
            Request::Spec if self.stack.is_shutting_down() => Reply::Spec(None),
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

    /// Applies a spec. Unless the stack was already up, shuts down if the stack cannot be started
    /// or the client disconnects before the stack is ready, because processes would otherwise be
    /// left behind.
    async fn apply(&self, spec: Spec, stream: &mut BufReader<UnixStream>) {
        if self.stack.is_shutting_down() {
            return reply(stream, &Reply::ShuttingDown).await;
        }
        self.applying.fetch_add(1, Ordering::AcqRel);
        let applied = tokio::select! {
            applied = self.stack.apply(spec) => Some(applied),
            () = wait_until_disconnected(stream) => None,
        };
        // If another client is still applying a spec, that client decides whether to shut down.
        let is_last = self.applying.fetch_sub(1, Ordering::AcqRel) == 1;
        if applied.is_some() && self.stack.spec().is_some() {
            // The stack is up even if services are not ready.
            self.is_up.store(true, Ordering::Release);
        }
        let is_abandoned = is_last && !self.is_up.load(Ordering::Acquire);
        if is_abandoned {
            self.stop_stack().await;
        }
        match applied {
            Some(Err(error)) if is_abandoned => {
                reply(stream, &Reply::NotStarted(error.to_string())).await;
            }
            Some(applied) => reply(stream, &done_or_failed(applied)).await,
            None => {}
        }
        if is_abandoned {
            self.exit.cancel();
        }
    }

    /// Waits until a spec has been applied. Shuts down if no command is connected for a few seconds
    /// in the meantime.
    pub async fn shut_down_if_unused(&self) {
        let mut unused = 0;
        while self.stack.spec().is_none() {
            if unused >= UNUSED_CHECKS_MAX {
                tracing::info!("supervisor is exiting: no command is using it");
                return self.shut_down().await;
            }
            tokio::time::sleep(UNUSED_CHECK_INTERVAL).await;
            let is_used = self.connections.load(Ordering::Acquire) > 0;
            unused = if is_used { 0 } else { unused + 1 };
        }
    }

    /// Waits until the client disconnects, then shuts down.
    async fn attach(&self, stream: &mut BufReader<UnixStream>) {
        reply(stream, &Reply::Done).await;
        wait_until_disconnected(stream).await;
        self.shut_down().await;
    }

    /// Stops everything and then signals that the supervisor may exit.
    pub async fn shut_down(&self) {
        self.stop_stack().await;
        self.exit.cancel();
    }

    async fn stop_stack(&self) {
        if let Err(error) = self.stack.down().await {
            tracing::warn!(%error, "supervisor cannot stop the stack gracefully; its processes will be killed");
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

/// Waits until the client closes the connection or exits.
async fn wait_until_disconnected(stream: &mut BufReader<UnixStream>) {
    let _disconnected = tokio::io::copy_buf(stream, &mut tokio::io::sink()).await;
}

/// Sends a reply. Ignores a client that has disconnected.
async fn reply(stream: &mut BufReader<UnixStream>, reply: &Reply) {
    let mut line = serde_json::to_string(reply).unwrap_or_default();
    line.push('\n');
    if let Err(error) = stream.get_mut().write_all(line.as_bytes()).await {
        tracing::debug!(%error, "client disconnected before the reply");
    }
}
