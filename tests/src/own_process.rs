//! A service that a test runs by itself, to see how it leaves.

use std::{
    net::SocketAddr,
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

use crate::{Gate, PATIENCE, World, bin_dir, send_signal};

/// A process beside those of the stack, of the same Mayfly. It is killed when this is dropped.
#[derive(Debug)]
pub struct OwnProcess {
    child: Child,
    /// Where it takes requests, if it takes any.
    pub http: Option<SocketAddr>,
    /// Its admin port.
    pub admin: SocketAddr,
    log: JoinHandle<Vec<String>>,
}

impl OwnProcess {
    /// Starts a service on free ports, and returns when it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(world: &World, service: Service) -> Self {
        Self::start_with(world, service, &[]).await
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(world: &World, service: Service, settings: &[(&str, &str)]) -> Self {
        let env = world.stack.env();
        let mut command = Command::new(bin_dir().join(service.name()));
        command
            .env("MAYFLY_LIMITS__MESSAGES", "off")
            .env("MAYFLY_LIMITS__PLAYS", "off")
            .env("MAYFLY_LIMITS__VISITS", "off")
            .envs(&world.spec.env)
            .env("MAYFLY_HTTP__LISTEN", "127.0.0.1:0")
            .env("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0")
            .env("REDIS_URL", env.redis_url())
            .env("DATABASE_URL", env.database_url())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the service can be started");
        let stdout = child.stdout.take().expect("its log is read here");
        let mut lines = BufReader::new(stdout).lines();
        let started = timeout(PATIENCE, find_started(&mut lines)).await.expect("it starts in time");
        let (http, admin) = (address(&started, "http="), address(&started, "admin="));
        let log = tokio::spawn(read_on(lines));
        Self { child, http, admin: admin.expect("every service has an admin port"), log }
    }

    /// The same behind a gate in front of Redis, for which it waits long; one thread serves, so that
    /// what was asked before has made its connection.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_behind(world: &World, service: Service, gate: &Gate) -> Self {
        let redis_url = gate.redis_url();
        let settings = [
            ("REDIS_URL", redis_url.as_str()),
            ("MAYFLY_HTTP__WORKERS", "1"),
            ("MAYFLY_REDIS__TIMEOUT", "60s"),
            ("MAYFLY_HTTP__REQUEST_TIMEOUT", "60s"),
        ];
        Self::start_with(world, service, &settings).await
    }

    /// A URL of it.
    ///
    /// # Panics
    /// When it takes no requests.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http.expect("it takes requests"))
    }

    /// Kills it, and returns when it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Sends SIGTERM and waits for the end: how it ended, after how long, and its log.
    ///
    /// # Panics
    /// When it does not end within this time.
    pub async fn leave(mut self, within: Duration) -> (ExitStatus, Duration, Vec<String>) {
        let asked = Instant::now();
        send_signal(self.child.id().expect("it still runs"), Signal::SIGTERM);
        let ended = timeout(within, self.child.wait()).await.expect("it leaves in time");
        let took = asked.elapsed();
        let log = self.log.await.expect("its log is read");
        (ended.expect("it can be waited for"), took, log)
    }
}

async fn find_started(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    loop {
        let line = lines.next_line().await.expect("its log is text").expect("it runs on");
        if line.contains("started") && line.contains("admin=") {
            return line;
        }
    }
}

async fn read_on(mut lines: Lines<BufReader<ChildStdout>>) -> Vec<String> {
    let mut read = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        read.push(line);
    }
    read
}

fn address(line: &str, name: &str) -> Option<SocketAddr> {
    let text = line.split(name).nth(1)?;
    let end = text.find(|letter: char| letter != '.' && letter != ':' && !letter.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}
