//! The system that is measured: whole, durable, with servers of its own, beside nothing else.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mayfly_stack::{Service, Spec, Stack, StackEnv};
use redis::AsyncCommands as _;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::requests::{message, username};

/// How long it may take until what was accepted is stored.
const SETTLE_WITHIN: Duration = Duration::from_mins(3);
/// Between two looks at how much is stored.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Messages of one batch request.
const BATCH_MESSAGES: usize = 1_000;

/// Everything that runs, and how much was asked of it.
pub struct System {
    stack: Stack,
    env: StackEnv,
    http: Client,
    postgres: tokio_postgres::Client,
    root: TempDir,
    /// Messages accepted so far.
    pub accepted: u64,
}

impl System {
    /// Starts it, with the services that lie beside this program.
    pub async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let bin_dir = program.parent().context("a program lies in a directory")?;
        // The user that Postgres runs as has to get through.
        let root = tempfile::Builder::new()
            .prefix("mayfly-bench-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let mut spec = Spec { durable: true, ..Spec::for_tests(root.path(), bin_dir) }
            .with_scale(Service::StatsPublisher, 0)
            .with_env("MAYFLY_INBOX__MESSAGES_MAX", "1000000");
        spec.without_s3 = true;
        let stack = Stack::up(spec).await?;
        let env = stack.env();
        let (postgres, connection) = tokio_postgres::connect(env.database_url(), NoTls).await?;
        tokio::spawn(connection);
        let http = Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { stack, env, http, postgres, root, accepted: 0 })
    }

    /// Ends it, and deletes what it wrote.
    pub async fn end(self) {
        if let Err(error) = self.stack.down().await {
            eprintln!("bench: {error}");
        }
    }

    /// Where it keeps its files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The `host:port` of a service.
    pub fn address(&self, service: Service) -> anyhow::Result<String> {
        let urls = self.env.urls(service);
        let url = urls.first().context("the service has an address")?;
        Ok(url.trim_start_matches("http://").to_owned())
    }

    /// Where its Postgres is.
    pub fn database_url(&self) -> &str {
        self.env.database_url()
    }

    /// Where its Redis is.
    pub fn redis_url(&self) -> &str {
        self.env.redis_url()
    }

    /// Posts one message, and gives the answer.
    pub async fn post_message(&mut self) -> anyhow::Result<String> {
        let url = format!("http://{}/v1/messages", self.address(Service::IngestApi)?);
        let answer = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(message(&username(0), 60))
            .send()
            .await?;
        ensure!(answer.status() == StatusCode::ACCEPTED, "a message: {}", answer.status());
        self.accepted += 1;
        Ok(answer.text().await?)
    }

    /// Gets one message.
    pub async fn get_message(&self, id: &str) -> anyhow::Result<String> {
        let url = format!("http://{}/v1/messages/{id}", self.address(Service::ListApi)?);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// Posts so many messages over the batch route, and gives their ids.
    pub async fn post_messages(&mut self, count: usize, ttl: u32) -> anyhow::Result<Vec<String>> {
        let url = format!("http://{}/v1/messages/batch", self.address(Service::IngestApi)?);
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let size = BATCH_MESSAGES.min(count - ids.len());
            let lines = (0..size).map(|number| message(&username(number), ttl) + "\n");
            let request = self.http.post(&url).header("content-type", "application/x-ndjson");
            let answer = request.body(lines.collect::<String>()).send().await?;
            ensure!(answer.status() == StatusCode::ACCEPTED, "a batch: {}", answer.status());
            let answer: Value = answer.json().await?;
            let accepted = answer["ids"].as_array().context("a batch is answered with ids")?;
            ensure!(accepted.len() == size, "{} of {size} accepted", accepted.len());
            ids.extend(accepted.iter().filter_map(Value::as_str).map(str::to_owned));
            self.accepted += size as u64;
        }
        Ok(ids)
    }

    /// Reports so many plays of so many videos in turn, a thousand a request.
    pub async fn post_plays(&self, count: usize, videos: usize, names: &str) -> anyhow::Result<()> {
        let url = format!("http://{}/v1/plays", self.address(Service::IngestApi)?);
        let play = |number: usize| format!(r#"{{"video_id":"{names}-{}"}}"#, number % videos);
        for first in (0..count).step_by(BATCH_MESSAGES) {
            let plays: Vec<_> = (first..count.min(first + BATCH_MESSAGES)).map(play).collect();
            let request = self.http.post(&url).header("content-type", "application/json");
            let answer = request.body(format!("[{}]", plays.join(","))).send().await?;
            ensure!(answer.status() == StatusCode::ACCEPTED, "plays: {}", answer.status());
        }
        Ok(())
    }

    /// Learns from Redis how much was accepted: a batch whose answer was 503 may have been.
    pub async fn recount(&mut self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let accepted = connection.hget("mayfly:{0}:ledger", "messages.accepted").await?;
        self.accepted = accepted;
        Ok(())
    }

    /// Ends persist-worker: what is accepted waits.
    pub async fn stop_worker(&self) -> anyhow::Result<()> {
        Ok(self.stack.stop(Service::PersistWorker).await?)
    }

    /// Starts it again; returns when it is ready.
    pub async fn start_worker(&self) -> anyhow::Result<()> {
        Ok(self.stack.start(Service::PersistWorker).await?)
    }

    /// Waits until everything accepted is stored, each once; gives the moment at which it was.
    pub async fn settle(&self) -> anyhow::Result<Instant> {
        const STORED: &str = "SELECT coalesce(sum(stored), 0)::bigint FROM ledger \
                              WHERE kind = 'messages'";
        let started = Instant::now();
        loop {
            let stored = self.count(STORED).await?;
            if stored == self.accepted {
                return Ok(Instant::now());
            }
            ensure!(stored < self.accepted, "{} accepted, {stored} stored", self.accepted);
            if started.elapsed() > SETTLE_WITHIN {
                bail!("{} accepted, {stored} stored within {SETTLE_WITHIN:?}", self.accepted);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        self.postgres.batch_execute(statement).await.with_context(|| statement.to_owned())
    }

    /// The one number that a query gives.
    pub async fn count(&self, query: &str) -> anyhow::Result<u64> {
        Ok(self.text(query).await?.parse()?)
    }

    /// The one text that a query gives.
    pub async fn text(&self, query: &str) -> anyhow::Result<String> {
        let answer = self.postgres.simple_query(query).await.with_context(|| query.to_owned())?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.map(str::to_owned).with_context(|| format!("{query}: nothing"))
    }
}
