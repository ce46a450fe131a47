//! The client side of the control socket.

use std::process::{Command, Stdio};
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

/// The time limit for a supervisor to listen after its start, and to exit.
const SUPERVISOR_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to the supervisor.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the supervisor of this checkout; `None` if there is none.
    pub async fn connect() -> Option<Self> {
        let stream = UnixStream::connect(SOCKET).await.ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and returns when the supervisor has completed it.
    pub async fn request(&mut self, request: &Request) -> Result<(), ControlError> {
        match self.exchange(request).await? {
            Reply::Failed(reason) => Err(ControlError::Failed(reason)),
            Reply::Done => Ok(()),
            Reply::Status(_) | Reply::Spec(_) => Err(ControlError::UnexpectedReply),
        }
    }

    /// Returns the status of every process.
    pub async fn status(&mut self) -> Result<Vec<InstanceStatus>, ControlError> {
        match self.exchange(&Request::Status).await? {
            Reply::Status(list) => Ok(list),
            Reply::Failed(reason) => Err(ControlError::Failed(reason)),
            Reply::Done | Reply::Spec(_) => Err(ControlError::UnexpectedReply),
        }
    }

    /// Returns the spec that was applied last; `None` before the first one.
    pub async fn spec(&mut self) -> Result<Option<Spec>, ControlError> {
        match self.exchange(&Request::Spec).await? {
            Reply::Spec(spec) => Ok(spec.map(|spec| *spec)),
            Reply::Failed(reason) => Err(ControlError::Failed(reason)),
            Reply::Done | Reply::Status(_) => Err(ControlError::UnexpectedReply),
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

/// Connects to the supervisor, and starts one first if none runs. The supervisor inherits no file
/// descriptor of the caller.
pub async fn start_supervisor(checkout: &Checkout) -> Result<Client, ControlError> {
    if let Some(client) = Client::connect().await {
        return Ok(client);
    }
    let logs = checkout.paths.logs();
    std::fs::create_dir_all(&logs).map_err(StackError::io(&logs))?;
    let path = logs.join("supervisor.log");
    let log = open_log(&path).map_err(StackError::io(&path))?;
    let output = log.try_clone().map_err(StackError::io(&path))?;
    let program = checkout.bin_dir.join("mayfly");
    let mut command = Command::new(&program);
    command.arg("supervise").stdin(Stdio::null()).stdout(output).stderr(log);
    command.spawn().map_err(StackError::io(&program))?;
    wait_until_connected().await.ok_or(ControlError::NotStarted(path))
}

/// Connects to the supervisor. Several commands may start one concurrently; only the one that
/// acquires the lock listens.
async fn wait_until_connected() -> Option<Client> {
    let deadline = Instant::now() + SUPERVISOR_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(client) = Client::connect().await {
            return Some(client);
        }
        sleep(POLL_INTERVAL).await;
    }
    None
}

/// Waits until the supervisor has exited.
pub async fn wait_until_supervisor_exits(checkout: &Checkout) -> Result<(), ControlError> {
    let deadline = Instant::now() + SUPERVISOR_TIMEOUT;
    while checkout.is_supervised() {
        if Instant::now() > deadline {
            return Err(ControlError::NotExited);
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
