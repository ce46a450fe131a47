//! The client side of the control socket.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::{Checkout, ControlError, Reply, Request, SOCKET};
use crate::error::StackError;
use crate::process::open_log;
use crate::spec::Spec;
use crate::supervisor::status::InstanceStatus;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The time limit for a new supervisor to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// The time limit for a supervisor to stop the services and then the servers, and to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to the supervisor.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the supervisor of this checkout. Returns `None` if no supervisor is listening.
    pub async fn connect() -> Option<Self> {
        let stream = UnixStream::connect(SOCKET).await.ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and waits for the reply. Returns an error unless the request succeeded.
    pub async fn request(&mut self, request: &Request) -> Result<(), ControlError> {
        match self.exchange(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the status of every process.
    pub async fn status(&mut self) -> Result<Vec<InstanceStatus>, ControlError> {
        match self.exchange(&Request::Status).await? {
            Reply::Status(list) => Ok(list),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the spec that was applied last, or `None` if no spec has been applied yet or the
    /// stack is shutting down.
    pub async fn spec(&mut self) -> Result<Option<Spec>, ControlError> {
        match self.exchange(&Request::Spec).await? {
            Reply::Spec(spec) => Ok(spec.map(|spec| *spec)),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until the supervisor closes the connection.
    pub async fn closed(&mut self) {
        let mut line = String::new();
        while self.stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            line.clear();
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_string(request).map_err(ControlError::OtherBuild)?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream.write_all(line.as_bytes()).await.map_err(ControlError::Disconnected)?;
        let mut reply = String::new();
        self.stream.read_line(&mut reply).await.map_err(ControlError::Disconnected)?;
        if reply.is_empty() {
            return Err(ControlError::NoReply);
        }
        serde_json::from_str(&reply).map_err(ControlError::OtherBuild)
    }
}

/// Returns the error for a reply that differs from the expected one.
fn unexpected(reply: Reply) -> ControlError {
    match reply {
        Reply::Failed(reason) => ControlError::Failed(reason),
        Reply::NotStarted(reason) => ControlError::StackNotStarted(reason),
        Reply::ShuttingDown => ControlError::ShuttingDown,
        Reply::Done | Reply::Status(_) | Reply::Spec(_) => ControlError::UnexpectedReply,
    }
}

/// Connects to the supervisor, after starting one if none is running. The supervisor inherits no
/// file descriptor from the caller.
///
/// Several commands may start a supervisor concurrently. Only the supervisor that acquires the lock
/// listens, and the others exit. A supervisor also exits if another process holds the lock only to
/// test whether it is free. In this case, this function starts another supervisor.
pub async fn start_supervisor(checkout: &Checkout) -> Result<Client, ControlError> {
    let log = checkout.paths.logs().join("supervisor.log");
    let deadline = Instant::now() + START_TIMEOUT;
    let mut started: Option<Child> = None;
    while Instant::now() < deadline {
        if let Some(client) = Client::connect().await {
            return Ok(client);
        }
        match started.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => {}
            Some(Ok(Some(status))) if !status.success() => break,
            _ if checkout.is_supervised() => {}
            _ => started = Some(spawn_supervisor(checkout, &log)?),
        }
        sleep(POLL_INTERVAL).await;
    }
    Err(ControlError::NotStarted(log))
}

fn spawn_supervisor(checkout: &Checkout, path: &Path) -> Result<Child, StackError> {
    let logs = checkout.paths.logs();
    std::fs::create_dir_all(&logs).map_err(StackError::io(&logs))?;
    let log = open_log(path).map_err(StackError::io(path))?;
    let output = log.try_clone().map_err(StackError::io(path))?;
    let program = checkout.bin_dir.join("mayfly");
    let mut command = Command::new(&program);
    command.arg("supervise").stdin(Stdio::null()).stdout(output).stderr(log);
    command.spawn().map_err(StackError::io(&program))
}

/// Waits until the supervisor has exited.
pub async fn wait_until_supervisor_exits(checkout: &Checkout) -> Result<(), ControlError> {
    let deadline = Instant::now() + EXIT_TIMEOUT;
    while checkout.is_supervised() {
        if Instant::now() > deadline {
            return Err(ControlError::NotExited);
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
