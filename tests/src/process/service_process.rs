//! A service process that a test runs and terminates itself.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use mayfly_stack::Service;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{ExitCommand, send_signal};
use crate::{DEFAULT_TIMEOUT, RedisProxy, World, bin_dir};

/// An additional service process that uses the stores of a stack. It is killed when this is
/// dropped or when the test process ends, even if the test process is killed.
#[derive(Debug)]
pub struct ServiceProcess {
    _kill_at_exit: ExitCommand,
    child: Child,
    /// The address of the public port, if the service has one.
    pub http: Option<SocketAddr>,
    /// The address of the admin port.
    pub admin: SocketAddr,
    log: JoinHandle<Vec<String>>,
}

impl ServiceProcess {
    /// Starts a service on free ports and returns when the service listens.
    ///
    /// # Panics
    /// If the service does not start.
    pub async fn start(world: &World, service: Service) -> Self {
        Self::start_with(world, service, &[]).await
    }

    /// Starts a service with additional environment variables.
    ///
    /// # Panics
    /// If the service does not start.
    pub async fn start_with(world: &World, service: Service, settings: &[(&str, &str)]) -> Self {
        let env = world.stack.env();
        let mut command = Command::new(bin_dir().join(service.name()));
        command
            .env("MAYFLY_AUTH__MODE", "open")
            .env("MAYFLY_LIMITS__AUTH_FAILURES", "off")
            .env("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "off")
            .env("MAYFLY_FANOUT__CLIENT_FRAMES", "off")
            .env("MAYFLY_LIMITS__MESSAGES", "off")
            .env("MAYFLY_LIMITS__PLAYS", "off")
            .env("MAYFLY_LIMITS__VISITS", "off")
            .env("MAYFLY_INGEST__WRITE_BY_GET", "on")
            .env("MAYFLY_LIST__CHATS_GET", "on")
            .envs(&world.spec.env)
            .env("MAYFLY_HTTP__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0")
            .env("REDIS_URL", env.redis_url())
            .env("DATABASE_URL", env.database_url())
            .envs(settings.iter().copied());
        Self::spawn(command).await
    }

    /// Starts a service without stores on free ports of the loopback interface, with an optional
    /// limit on open files.
    ///
    /// # Panics
    /// If the service does not start.
    pub async fn start_without_stores(service: Service, open_files: Option<u32>) -> Self {
        const UNREACHABLE: &str = "127.0.0.1:9";
        let program = bin_dir().join(service.name());
        let mut command = match open_files {
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\"")).arg(program);
                shell
            }
            None => Command::new(program),
        };
        command
            .env_clear()
            .env("MAYFLY_AUTH__MODE", "open")
            .env("MAYFLY_HTTP__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_HTTP__DRAIN_DELAY", "0s")
            .env("REDIS_URL", format!("redis://{UNREACHABLE}"))
            .env("DATABASE_URL", format!("postgres://{UNREACHABLE}/mayfly"));
        Self::spawn(command).await
    }

    /// Starts a service on free ports of the loopback interface, with these environment variables
    /// alone.
    ///
    /// # Panics
    /// If the service does not start.
    pub async fn start_with_env(service: Service, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(bin_dir().join(service.name()));
        command
            .env_clear()
            .env("MAYFLY_HTTP__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_HTTP__DRAIN_DELAY", "0s")
            .envs(env.iter().copied());
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the service starts");
        let pid = child.id().expect("the process was not awaited").to_string();
        let kill_at_exit = ExitCommand::new(Path::new("/"), "kill -KILL \"$1\"", [pid]);
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let started = timeout(DEFAULT_TIMEOUT, find_started_line(&mut lines)).await;
        let (started, earlier) = started.expect("the service starts in time");
        let (http, admin) = (parse_address(&started, "http="), parse_address(&started, "admin="));
        let log = tokio::spawn(read_rest(earlier, lines));
        let admin = admin.expect("every service has an admin port");
        Self { _kill_at_exit: kill_at_exit, child, http, admin, log }
    }

    /// Starts a service that connects to Redis through a proxy, with long timeouts. The service has
    /// one worker thread, so that any earlier request has opened the thread's Redis connection.
    ///
    /// # Panics
    /// If the service does not start.
    pub async fn start_behind_proxy(world: &World, service: Service, proxy: &RedisProxy) -> Self {
        let redis_url = proxy.redis_url();
        let settings = [
            ("REDIS_URL", redis_url.as_str()),
            ("MAYFLY_HTTP__WORKERS", "1"),
            ("MAYFLY_REDIS__TIMEOUT", "60s"),
            ("MAYFLY_HTTP__REQUEST_TIMEOUT", "60s"),
        ];
        Self::start_with(world, service, &settings).await
    }

    /// Returns a URL of the service.
    ///
    /// # Panics
    /// If the service has no public port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http.expect("the service has a public port"))
    }

    /// Returns the process ID.
    ///
    /// # Panics
    /// If the process has exited.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process is running")
    }

    /// Kills the process and waits until it has exited.
    ///
    /// # Panics
    /// If the process cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the child is killed");
    }

    /// Sends SIGTERM and waits for the exit. Returns the exit status, the elapsed time and the log.
    ///
    /// # Panics
    /// If the process does not exit in time.
    pub async fn terminate(mut self, within: Duration) -> (ExitStatus, Duration, Vec<String>) {
        let signaled_at = Instant::now();
        send_signal(self.child.id().expect("the process is running"), Signal::SIGTERM);
        let exited = timeout(within, self.child.wait()).await.expect("the process exits in time");
        let elapsed = signaled_at.elapsed();
        let log = self.log.await.expect("the log is read");
        (exited.expect("the process can be awaited"), elapsed, log)
    }
}

/// Returns the log line that contains the ports, and all lines up to and including this line.
async fn find_started_line(lines: &mut Lines<BufReader<ChildStdout>>) -> (String, Vec<String>) {
    let mut read = Vec::new();
    loop {
        let line =
            lines.next_line().await.expect("valid UTF-8").expect("the process keeps running");
        read.push(line.clone());
        if line.contains("started") && line.contains("admin=") {
            return (line, read);
        }
    }
}

/// Reads the rest of a log and returns the complete log.
async fn read_rest(mut log: Vec<String>, mut lines: Lines<BufReader<ChildStdout>>) -> Vec<String> {
    while let Ok(Some(line)) = lines.next_line().await {
        log.push(line);
    }
    log
}

fn parse_address(line: &str, name: &str) -> Option<SocketAddr> {
    let text = line.split(name).nth(1)?;
    let end = text.find(|letter: char| letter != '.' && letter != ':' && !letter.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}
