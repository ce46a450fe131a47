//! The side of the commands.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mayfly_stack::{InstanceStatus, Spec, open_log};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::{Reply, Request, SOCKET};
use crate::checkout::Checkout;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a supervisor may take to listen, and to end.
const SUPERVISOR_WITHIN: Duration = Duration::from_secs(15);

/// A connection to the supervisor.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the supervisor of this checkout; `None` when there is none.
    pub(crate) async fn connect() -> Option<Self> {
        let stream = UnixStream::connect(SOCKET).await.ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Asks for something and returns when it is done.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<()> {
        match self.exchange(request).await? {
            Reply::Failed(why) => bail!("{why}"),
            Reply::Done | Reply::Status(_) | Reply::Spec(_) => Ok(()),
        }
    }

    /// Asks how all is.
    pub(crate) async fn ask_status(&mut self) -> Result<Vec<InstanceStatus>> {
        match self.exchange(&Request::Status).await? {
            Reply::Status(list) => Ok(list),
            Reply::Failed(why) => bail!("{why}"),
            Reply::Done | Reply::Spec(_) => Ok(Vec::new()),
        }
    }

    /// Asks what the stack was brought to last; none where it never was.
    pub(crate) async fn ask_spec(&mut self) -> Result<Option<Spec>> {
        match self.exchange(&Request::Spec).await? {
            Reply::Spec(spec) => Ok(spec.map(|spec| *spec)),
            Reply::Failed(why) => bail!("{why}"),
            Reply::Done | Reply::Status(_) => Ok(None),
        }
    }

    /// Returns when the supervisor has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut line = String::new();
        while self.stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            line.clear();
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).await.context("the supervisor is gone")?;
        let mut reply = String::new();
        self.stream.read_line(&mut reply).await.context("the supervisor is gone")?;
        if reply.is_empty() {
            bail!("the supervisor ended without a reply; its log is .mayfly/logs/supervisor.log");
        }
        serde_json::from_str(&reply)
            .context("another build of mayfly supervises this stack: run `make down` first")
    }
}

/// Returns a connection to the supervisor, starting it if there is none. It holds nothing of its caller's.
pub(crate) async fn start_supervisor(checkout: &Checkout) -> Result<Client> {
    if let Some(client) = Client::connect().await {
        return Ok(client);
    }
    std::fs::create_dir_all(checkout.paths.logs()).context("the directory of the logs")?;
    let path = checkout.paths.logs().join("supervisor.log");
    let log = open_log(&path).with_context(|| path.display().to_string())?;
    let program = checkout.bin_dir.join("mayfly");
    let mut command = Command::new(&program);
    command.arg("supervise").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| program.display().to_string())?;
    connect_to_started()
        .await
        .with_context(|| format!("the supervisor does not start; its log is {}", path.display()))
}

/// Another command may start one in the same moment; whichever gets the lock is the one.
async fn connect_to_started() -> Option<Client> {
    let deadline = Instant::now() + SUPERVISOR_WITHIN;
    while Instant::now() < deadline {
        if let Some(client) = Client::connect().await {
            return Some(client);
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

/// Returns when the supervisor has ended.
pub(crate) async fn wait_until_unsupervised(checkout: &Checkout) -> Result<()> {
    let deadline = Instant::now() + SUPERVISOR_WITHIN;
    while checkout.is_supervised() {
        if Instant::now() > deadline {
            bail!("everything is down but the supervisor, which does not end");
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}
