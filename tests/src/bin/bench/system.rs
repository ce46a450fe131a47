//! The system under test: a complete, durable stack with its own servers.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mayfly_stack::{Service, Spec, Stack, StackEnv};
use parking_lot::Mutex;
use redis::AsyncCommands as _;
use reqwest::{
    Client, StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    effort::Effort,
    load::{AfterRound, Contender, Load, alternate, message, username},
    report::Comparison,
};

/// The baseline of a comparison of the two modes.
pub const MODE_OPEN: &str = "mode open";
/// The expected ratio of the mode `keys` to the mode `open`.
pub const KEYS_EXPECTED: f64 = 0.97;

/// How long storing the accepted messages may take.
const STORE_TIMEOUT: Duration = Duration::from_mins(3);
/// How long the services may take until they accept a new key.
const KEY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Messages per batch request.
const BATCH_MESSAGES: usize = 1_000;

/// A running stack.
pub struct System {
    stack: Stack,
    env: StackEnv,
    http: Client,
    postgres: tokio_postgres::Client,
    root: TempDir,
    /// The PIDs of services that are not restarted.
    pids: Mutex<BTreeMap<Service, Vec<u32>>>,
    /// The `Authorization` header of every request, as a line; empty without credentials.
    pub authorization: String,
    /// The number of messages accepted so far.
    pub accepted: u64,
}

/// Two systems that differ only in the mode of access control.
pub struct Modes {
    /// The services require credentials, and every request contains an API key.
    pub keys: System,
    /// The services check no credentials.
    pub open: System,
}

impl Modes {
    /// Starts both systems.
    pub async fn start() -> anyhow::Result<Self> {
        let keys = System::start(true).await?;
        Ok(Self { keys, open: System::start(false).await? })
    }

    /// Measures both systems in alternating rounds, with a load for each of them.
    pub async fn alternate(
        &mut self,
        effort: &Effort,
        service: Service,
        mut loads: Vec<Load>,
        after: AfterRound,
    ) -> anyhow::Result<Comparison> {
        let [keys, open] = &mut loads[..] else { bail!("invariant: each system has a load") };
        let keys = Contender::mayfly(&mut self.keys, service, keys, after);
        let open = Contender::mayfly(&mut self.open, service, open, after);
        alternate(effort, keys, open).await
    }

    /// Stops both systems and deletes their files.
    pub async fn shut_down(self) {
        self.keys.shut_down().await;
        self.open.shut_down().await;
    }
}

impl System {
    /// Starts a stack with the service binaries in the directory of this executable. If `keys` is
    /// true, the services require credentials, and every request contains an API key.
    pub async fn start(keys: bool) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let bin_dir = program.parent().context("the executable has a parent directory")?;
        // The Postgres user needs access to the data directory below this one.
        let root = tempfile::Builder::new()
            .prefix("mayfly-bench-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let mut spec = Spec { durable: true, ..Spec::for_tests(root.path(), bin_dir) }
            .with_scale(Service::StatsPublisher, 0)
            .with_env("MAYFLY_INBOX__MESSAGES_MAX", "1000000");
        spec.without_s3 = true;
        if keys {
            spec = spec.with_env("MAYFLY_AUTH__MODE", "keys");
        }
        let stack = Stack::up(spec).await?;
        let env = stack.env();
        let mut headers = HeaderMap::new();
        let mut authorization = String::new();
        if keys {
            let value = format!("Bearer {}", create_key(bin_dir, &env).await?);
            authorization = format!("authorization: {value}\r\n");
            headers.insert(AUTHORIZATION, value.parse()?);
        }
        let (postgres, connection) = tokio_postgres::connect(env.database_url(), NoTls).await?;
        tokio::spawn(connection);
        let http = Client::builder().timeout(Duration::from_secs(30)).default_headers(headers);
        let http = http.build()?;
        let system = Self {
            stack,
            env,
            http,
            postgres,
            root,
            pids: Mutex::default(),
            authorization,
            accepted: 0,
        };
        if keys {
            system.wait_until_key_is_accepted().await?;
        }
        Ok(system)
    }

    /// Waits until a worker has copied the keys from Postgres to Redis. Until then, requests with
    /// a key receive 503.
    async fn wait_until_key_is_accepted(&self) -> anyhow::Result<()> {
        let url = format!("http://{}/v1/plays", self.address(Service::ListApi)?);
        let started = Instant::now();
        loop {
            let status = self.http.get(&url).send().await?.status();
            if status == StatusCode::OK {
                return Ok(());
            }
            ensure!(started.elapsed() < KEY_TIMEOUT, "GET /v1/plays with a new key: {status}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops the stack and deletes its files.
    pub async fn shut_down(self) {
        if let Err(error) = self.stack.down().await {
            eprintln!("bench: {error}");
        }
    }

    /// Returns the directory of the stack's files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the address of a service, `host:port`.
    pub fn address(&self, service: Service) -> anyhow::Result<String> {
        let urls = self.env.urls(service);
        let url = urls.first().context("the service has an address")?;
        Ok(url.trim_start_matches("http://").to_owned())
    }

    /// Returns the time that all threads of a service have spent on a CPU. The service must not be
    /// restarted between two calls.
    pub async fn cpu_time(&self, service: Service) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for pid in self.find_pids(service).await? {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
                let on_cpu = schedstat.split_whitespace().next();
                let on_cpu = on_cpu.context("`schedstat` is empty")?.parse::<u64>()?;
                nanoseconds += on_cpu;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Returns the PIDs of a service, which are looked up once, because each lookup sends requests
    /// to the service.
    async fn find_pids(&self, service: Service) -> anyhow::Result<Vec<u32>> {
        if let Some(pids) = self.pids.lock().get(&service) {
            return Ok(pids.clone());
        }
        let processes = self.stack.status().await?.into_iter();
        let of_service = processes.filter(|status| status.instance.kind == service.into());
        let pids: Vec<u32> = of_service.filter_map(|status| status.pid).collect();
        self.pids.lock().insert(service, pids.clone());
        Ok(pids)
    }

    /// Returns the URL of Postgres.
    pub fn database_url(&self) -> &str {
        self.env.database_url()
    }

    /// Returns the URL of Redis.
    pub fn redis_url(&self) -> &str {
        self.env.redis_url()
    }

    /// Posts one message and returns the response body.
    pub async fn post_message(&mut self) -> anyhow::Result<String> {
        let url = format!("http://{}/v1/messages", self.address(Service::IngestApi)?);
        let response = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(message(&username(0), 60))
            .send()
            .await?;
        ensure!(
            response.status() == StatusCode::ACCEPTED,
            "POST /v1/messages: {}",
            response.status()
        );
        self.accepted += 1;
        Ok(response.text().await?)
    }

    /// Gets one message and returns the response body.
    pub async fn get_message(&self, id: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/v1/messages/{id}", self.address(Service::ListApi)?);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// Posts messages in batches and returns their IDs.
    pub async fn post_messages(&mut self, count: usize, ttl: u32) -> anyhow::Result<Vec<String>> {
        let url = format!("http://{}/v1/messages/batch", self.address(Service::IngestApi)?);
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let size = BATCH_MESSAGES.min(count - ids.len());
            let lines = (0..size).map(|number| message(&username(number), ttl) + "\n");
            let request = self.http.post(&url).header("content-type", "application/x-ndjson");
            let response = request.body(lines.collect::<String>()).send().await?;
            ensure!(
                response.status() == StatusCode::ACCEPTED,
                "POST /v1/messages/batch: {}",
                response.status()
            );
            let response: Value = response.json().await?;
            let accepted = response["ids"].as_array().context("the response has `ids`")?;
            ensure!(accepted.len() == size, "{} of {size} accepted", accepted.len());
            ids.extend(accepted.iter().filter_map(Value::as_str).map(str::to_owned));
            self.accepted += size as u64;
        }
        Ok(ids)
    }

    /// Reports plays that cycle through `videos` videos, in batches.
    pub async fn post_plays(
        &self,
        count: usize,
        videos: usize,
        name_prefix: &str,
    ) -> anyhow::Result<()> {
        let url = format!("http://{}/v1/plays", self.address(Service::IngestApi)?);
        let play = |number: usize| format!(r#"{{"video_id":"{name_prefix}-{}"}}"#, number % videos);
        for first in (0..count).step_by(BATCH_MESSAGES) {
            let plays: Vec<_> = (first..count.min(first + BATCH_MESSAGES)).map(play).collect();
            let request = self.http.post(&url).header("content-type", "application/json");
            let response = request.body(format!("[{}]", plays.join(","))).send().await?;
            ensure!(
                response.status() == StatusCode::ACCEPTED,
                "POST /v1/plays: {}",
                response.status()
            );
        }
        Ok(())
    }

    /// Reads the number of accepted messages from Redis, since a batch may be accepted despite a
    /// 503.
    pub async fn refresh_accepted(&mut self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let accepted = connection.hget("mayfly:{0}:ledger", "messages.accepted").await?;
        self.accepted = accepted;
        Ok(())
    }

    /// Stops `persist-worker`; accepted messages stay in the queue.
    pub async fn stop_worker(&self) -> anyhow::Result<()> {
        Ok(self.stack.stop(Service::PersistWorker).await?)
    }

    /// Starts `persist-worker` and returns when it is ready.
    pub async fn start_worker(&self) -> anyhow::Result<()> {
        Ok(self.stack.start(Service::PersistWorker).await?)
    }

    /// Waits until every accepted message is stored exactly once, and returns that time.
    pub async fn wait_until_stored(&self) -> anyhow::Result<Instant> {
        const STORED: &str = "SELECT coalesce(sum(stored), 0)::bigint FROM ledger \
                              WHERE kind = 'messages'";
        let started = Instant::now();
        loop {
            let stored = self.count(STORED).await?;
            if stored == self.accepted {
                return Ok(Instant::now());
            }
            ensure!(stored < self.accepted, "{} accepted, {stored} stored", self.accepted);
            if started.elapsed() > STORE_TIMEOUT {
                bail!("{} accepted, {stored} stored within {STORE_TIMEOUT:?}", self.accepted);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        self.postgres.batch_execute(statement).await.with_context(|| statement.to_owned())
    }

    /// Runs a query that returns one number.
    pub async fn count(&self, query: &str) -> anyhow::Result<u64> {
        Ok(self.text(query).await?.parse()?)
    }

    /// Runs a query that returns one text.
    pub async fn text(&self, query: &str) -> anyhow::Result<String> {
        let response = self.postgres.simple_query(query).await.with_context(|| query.to_owned())?;
        let row = response.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.map(str::to_owned).with_context(|| format!("{query}: no rows"))
    }
}

/// Creates an API key without patterns, as the back end of a site uses it.
async fn create_key(bin_dir: &Path, env: &StackEnv) -> anyhow::Result<String> {
    let output = Command::new(bin_dir.join("mayfly"))
        .args(["keys", "create", "--name", "bench"])
        .args(["--scope", "publish", "--scope", "subscribe", "--scope", "read"])
        .env("DATABASE_URL", env.database_url())
        .env("REDIS_URL", env.redis_url())
        .output()
        .await
        .context("cannot run mayfly")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mayfly keys create failed: {}", error.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
