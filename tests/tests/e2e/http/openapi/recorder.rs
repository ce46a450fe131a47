//! Sends requests, validates every response against the document, and records the outcomes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use futures_util::future::join_all;
use mayfly_core::{Clock, KeyHash, SystemClock};
use mayfly_stack::{Service, SharedServers};
use mayfly_tests::{ApiResponse, ServiceProcess, World, create_page_key, load_credentials};
use reqwest::{Client, redirect::Policy};
use serde_json::json;

use super::{
    document::{Document, Outcome},
    request::Request,
};

/// The environment that a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Services with default settings.
    Plain,
    /// Services without Redis and Postgres.
    NoStores,
    /// Services with corrupt data in Redis and Postgres.
    Corrupt,
    /// A `list-api` with statistics, a pulse and an API key.
    WithStatistics,
    /// A `list-api` with Chartbeat as its source and an API key.
    WithChartbeat,
    /// Services with all optional routes disabled.
    RoutesDisabled,
    /// An `ingest-api` with a short body timeout.
    ShortBodyTimeout,
    /// An `ingest-api` with a rate limit of one message per client, and a `list-api` with an API
    /// key and a limit of one failed authentication per client.
    RateLimited,
    /// An `ingest-api` with room for one message per inbox.
    SmallInbox,
    /// An `ingest-api` with room for one queued message and one page per host.
    SmallQueue,
}

/// The pulse of an idle system.
const PULSE: &str = r#"{"generated_at":"2026-11-20T19:07:00.123Z","queue":{"depth":0,"oldest_age_ms":0,"dead_letters":0},"rates":{"accepted":0.0,"stored":0.0,"delivered":0.0},"consumption_ms":{"latest":null,"average":null,"p50":null,"p99":null},"connections":0}"#;

/// Redis keys that are overwritten with a value of the wrong type.
const CORRUPT_KEYS: [&str; 8] = [
    "taken",
    "inbox:fred",
    "stats",
    "plays:counts",
    "pulse",
    "visits:fred",
    "rising:host:fred",
    "keys",
];

/// Additional environment variables of a service.
type Settings<'a> = &'a [(&'a str, &'a str)];

/// A request and its expected response.
#[derive(Debug, Clone)]
pub struct Case {
    /// The environment.
    pub target: Target,
    /// Preceding requests, sent in order; their responses are validated, too.
    pub before: Vec<Request>,
    /// The request.
    pub request: Request,
    /// The expected status.
    pub status: u16,
    /// The expected problem code, or an empty string.
    pub code: &'static str,
}

/// All environments and the recorded outcomes.
pub struct Recorder {
    pub document: Document,
    world: World,
    /// A client that does not follow redirects.
    client: Client,
    processes: BTreeMap<(Target, Service), ServiceProcess>,
    outcomes: Mutex<BTreeSet<Outcome>>,
}

impl Recorder {
    /// Starts the services of all environments.
    pub async fn start(world: World, document: Document) -> Self {
        let small_queue_prefix = format!("{}-elsewhere", world.prefix);
        let corrupt = format!("{}-spoilt", world.prefix);
        let with_statistics = format!("{}-summed", world.prefix);
        let foreign_database = create_foreign_database(&world).await;
        for key in CORRUPT_KEYS {
            write_value(&world, "RPUSH", &corrupt, key, &["{}"]).await;
        }
        write_value(&world, "SET", &with_statistics, "stats", &["{}"]).await;
        write_value(&world, "SET", &with_statistics, "pulse", &[PULSE]).await;
        write_key(&world, &with_statistics).await;
        let with_chartbeat = format!("{}-sourced", world.prefix);
        write_chartbeat_state(&world, &with_chartbeat).await;
        let with_chartbeat = [
            ("MAYFLY_REDIS__PREFIX", with_chartbeat.as_str()),
            ("MAYFLY_RISING__SOURCE", "chartbeat"),
        ];
        let closed_port = "127.0.0.1:1";
        let (redis, postgres) =
            (format!("redis://{closed_port}"), format!("postgres://{closed_port}/x"));
        let no_stores = [("REDIS_URL", redis.as_str()), ("DATABASE_URL", postgres.as_str())];
        let corrupt = [
            ("MAYFLY_REDIS__PREFIX", corrupt.as_str()),
            ("DATABASE_URL", foreign_database.as_str()),
        ];
        let routes_disabled =
            [("MAYFLY_INGEST__WRITE_BY_GET", "off"), ("MAYFLY_LIST__CHATS_GET", "off")];
        let limited = [
            ("MAYFLY_LIMITS__MESSAGES", "1/hour"),
            ("MAYFLY_LIMITS__PLAYS", "1/hour"),
            ("MAYFLY_LIMITS__VISITS", "1/hour"),
            ("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1"),
        ];
        let small_queue = [
            ("MAYFLY_QUEUE__DEPTH_MAX", "1"),
            ("MAYFLY_VISITS__PAGES_MAX", "1"),
            ("MAYFLY_REDIS__PREFIX", &small_queue_prefix),
        ];
        let ingest = Service::IngestApi;
        let few_failures = [
            ("MAYFLY_REDIS__PREFIX", with_statistics.as_str()),
            ("MAYFLY_LIMITS__AUTH_FAILURES", "1/hour"),
        ];
        let specs: [(Target, Service, Settings); 12] = [
            (Target::NoStores, ingest, &no_stores),
            (Target::NoStores, Service::ListApi, &no_stores),
            (Target::Corrupt, Service::ListApi, &corrupt),
            (
                Target::WithStatistics,
                Service::ListApi,
                &[("MAYFLY_REDIS__PREFIX", &with_statistics)],
            ),
            (Target::WithChartbeat, Service::ListApi, &with_chartbeat),
            (Target::RoutesDisabled, ingest, &routes_disabled),
            (Target::RoutesDisabled, Service::ListApi, &routes_disabled),
            (Target::ShortBodyTimeout, ingest, &[("MAYFLY_HTTP__BODY_TIMEOUT", "2s")]),
            (Target::RateLimited, ingest, &limited),
            (Target::RateLimited, Service::ListApi, &few_failures),
            (Target::SmallInbox, ingest, &[("MAYFLY_INBOX__MESSAGES_MAX", "1")]),
            (Target::SmallQueue, ingest, &small_queue),
        ];
        let started = specs.iter().map(async |(target, service, settings)| {
            ((*target, *service), ServiceProcess::start_with(&world, *service, settings).await)
        });
        let processes = join_all(started).await.into_iter().collect();
        // A pooled idle connection would be closed by the service with the short body timeout.
        let client = Client::builder().redirect(Policy::none()).pool_max_idle_per_host(0).build();
        let client = client.expect("the client is built");
        Self { document, world, client, processes, outcomes: Mutex::default() }
    }

    /// Sends a request and validates its response.
    async fn send(&self, target: Target, request: &Request) -> Result<ApiResponse, String> {
        let service = request.service(&self.document);
        let base = match self.processes.get(&(target, service)) {
            Some(process) => process.url(""),
            None if target == Target::Plain => self.world.url(service, ""),
            None => panic!("{service:?} is not started for {target:?}"),
        };
        let response = request.send(&self.client, &self.document, &base).await;
        let outcome = self.document.check(&request.operation, &response).map_err(|wrong| {
            format!("{target:?} {request:?}: {wrong}\n{:?}\n{}", response.headers, response.text())
        })?;
        self.outcomes.lock().expect("the mutex is not poisoned").insert(outcome);
        Ok(response)
    }

    /// Runs a case and describes a mismatch.
    pub async fn run(&self, case: Case) -> Result<(), String> {
        for request in &case.before {
            self.send(case.target, request).await?;
        }
        let response = self.send(case.target, &case.request).await?;
        let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
        if (response.status, code.as_str()) == (case.status, case.code) {
            return Ok(());
        }
        Err(format!("{case:?}: {}\n{}", response.status, response.text()))
    }

    /// Returns the recorded outcomes.
    pub fn outcomes(&self) -> BTreeSet<Outcome> {
        self.outcomes.lock().expect("the mutex is not poisoned").clone()
    }
}

/// Creates a database whose tables have the right names but no columns.
async fn create_foreign_database(world: &World) -> String {
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database(&format!("{}_spoilt", world.prefix)).await;
    let url = url.expect("the database is created");
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("Postgres responds");
    tokio::spawn(connection);
    for table in ["messages", "dead_letters", "hosts", "page_hours"] {
        let made = client.batch_execute(&format!("CREATE TABLE {table} ()")).await;
        made.expect("the table is created");
    }
    // Without the newest function, Mayfly would report that its migrations have not run.
    let made = client
        .batch_execute("CREATE FUNCTION store_samples_v1() RETURNS void LANGUAGE sql AS ''")
        .await;
    made.expect("the function is created");
    url
}

/// Loads an API key for the host `fred` and no token revocations.
async fn write_key(world: &World, prefix: &str) {
    let key = create_page_key("good", &["fred"], false);
    load_credentials(&world.hot_store(prefix), &[key], &[]).await;
}

/// Writes a trend snapshot of `fred`, a key that Chartbeat rejected, and many waiting keys of
/// `crowded`.
async fn write_chartbeat_state(world: &World, prefix: &str) {
    write_key(world, prefix).await;
    // The sample time is in the future, so that the snapshot does not expire during the test.
    let sampled_at = SystemClock.now().plus(Duration::from_secs(30));
    let trend = json!({"host": "fred", "sampled_at": sampled_at, "visitors": 3, "exact": true,
        "compared_to": sampled_at, "pages": [
            {"path": "/", "title": null, "visitors": 3, "before": 1, "usual": null}]});
    write_value(world, "SET", prefix, "rising:host:fred", &[&trend.to_string()]).await;
    let rejected = format!("rising:refused:{}:fred", KeyHash::from_key("refused"));
    write_value(world, "SET", prefix, &rejected, &["1"]).await;
    for number in 0..100 {
        let key = format!("{number}");
        write_value(world, "HSET", prefix, "rising:candidates:crowded", &[&key, "1:x"]).await;
    }
}

/// Runs a write command on a key below another prefix.
async fn write_value(world: &World, command: &str, prefix: &str, key: &str, texts: &[&str]) {
    let mut redis = world.redis().await;
    let key = format!("{prefix}:{{0}}:{key}");
    let written = redis::cmd(command).arg(key).arg(texts).exec_async(&mut redis).await;
    written.expect("Redis responds");
}
