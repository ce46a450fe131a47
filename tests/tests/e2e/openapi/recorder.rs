//! Sends requests, holds every answer against the document, and keeps what was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use futures_util::future::join_all;
use mayfly_core::{Clock, KeyHash, SystemClock};
use mayfly_stack::{Service, SharedServers};
use mayfly_tests::{Answer, OwnProcess, World};
use reqwest::{Client, redirect::Policy};
use serde_json::json;

use super::{
    document::{Document, Outcome},
    request::Request,
};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// To services at work.
    Plain,
    /// To services without Redis and Postgres.
    CutOff,
    /// To services that find in Redis and Postgres what nobody of ours put there.
    Spoilt,
    /// To a list-api that knows of statistics, of a pulse, and of a key.
    Summed,
    /// To a list-api for which another service counts visitors, and of a key.
    Elsewhere,
    /// To services of which the switched is switched off.
    SwitchedOff,
    /// To an ingest-api that waits for a body no longer than for a moment.
    Impatient,
    /// To an ingest-api that takes one message from a client.
    Limited,
    /// To an ingest-api with room for one message in an inbox.
    SmallInbox,
    /// To an ingest-api with room for one message in the queue, and for one page of a host.
    SmallQueue,
}

/// A pulse of a system at rest.
const PULSE: &str = r#"{"generated_at":"2026-11-20T19:07:00.123Z","queue":{"depth":0,"oldest_age_ms":0,"dead_letters":0},"rates":{"accepted":0.0,"stored":0.0,"delivered":0.0},"consumption_ms":{"latest":null,"average":null,"p50":null,"p99":null},"connections":0}"#;

/// Keys under which the spoilt find what nobody of ours put there.
const SPOILT: [&str; 8] = [
    "taken",
    "inbox:fred",
    "stats",
    "plays:counts",
    "pulse",
    "visits:fred",
    "rising:host:fred",
    "keys",
];

/// What a service is told besides.
type Settings<'a> = &'a [(&'a str, &'a str)];

/// A request, and what it is answered.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where to.
    pub place: Place,
    /// Sent before, one after the other; their answers are held against the document, too.
    pub before: Vec<Request>,
    /// The request.
    pub request: Request,
    /// The status.
    pub status: u16,
    /// The code; empty where it is no problem.
    pub code: &'static str,
}

/// All places, and what was seen there.
pub struct Recorder {
    pub document: Document,
    world: World,
    /// Follows no redirect.
    client: Client,
    processes: BTreeMap<(Place, Service), OwnProcess>,
    seen: Mutex<BTreeSet<Outcome>>,
}

impl Recorder {
    /// Starts the services that are not at work as they usually are.
    pub async fn start(world: World, document: Document) -> Self {
        let elsewhere = format!("{}-elsewhere", world.prefix);
        let spoilt = format!("{}-spoilt", world.prefix);
        let summed = format!("{}-summed", world.prefix);
        let foreign = make_foreign_database(&world).await;
        for key in SPOILT {
            write_elsewhere(&world, "RPUSH", &spoilt, key, &["{}"]).await;
        }
        write_elsewhere(&world, "SET", &summed, "stats", &["{}"]).await;
        write_elsewhere(&world, "SET", &summed, "pulse", &[PULSE]).await;
        write_key(&world, &summed).await;
        let sourced = format!("{}-sourced", world.prefix);
        write_sources(&world, &sourced).await;
        let sourced =
            [("MAYFLY_REDIS__PREFIX", sourced.as_str()), ("MAYFLY_RISING__SOURCE", "chartbeat")];
        let nowhere = "127.0.0.1:1";
        let (redis, postgres) = (format!("redis://{nowhere}"), format!("postgres://{nowhere}/x"));
        let cut_off = [("REDIS_URL", redis.as_str()), ("DATABASE_URL", postgres.as_str())];
        let spoilt =
            [("MAYFLY_REDIS__PREFIX", spoilt.as_str()), ("DATABASE_URL", foreign.as_str())];
        let off = [("MAYFLY_INGEST__WRITE_BY_GET", "off"), ("MAYFLY_LIST__CHATS_GET", "off")];
        let limited = [
            ("MAYFLY_LIMITS__MESSAGES", "1/hour"),
            ("MAYFLY_LIMITS__PLAYS", "1/hour"),
            ("MAYFLY_LIMITS__VISITS", "1/hour"),
            ("MAYFLY_HTTP__TRUSTED_PROXIES", "127.0.0.1"),
        ];
        let small_queue = [
            ("MAYFLY_QUEUE__DEPTH_MAX", "1"),
            ("MAYFLY_VISITS__PAGES_MAX", "1"),
            ("MAYFLY_REDIS__PREFIX", &elsewhere),
        ];
        let ingest = Service::IngestApi;
        let wanted: [(Place, Service, Settings); 11] = [
            (Place::CutOff, ingest, &cut_off),
            (Place::CutOff, Service::ListApi, &cut_off),
            (Place::Spoilt, Service::ListApi, &spoilt),
            (Place::Summed, Service::ListApi, &[("MAYFLY_REDIS__PREFIX", &summed)]),
            (Place::Elsewhere, Service::ListApi, &sourced),
            (Place::SwitchedOff, ingest, &off),
            (Place::SwitchedOff, Service::ListApi, &off),
            (Place::Impatient, ingest, &[("MAYFLY_HTTP__BODY_TIMEOUT", "2s")]),
            (Place::Limited, ingest, &limited),
            (Place::SmallInbox, ingest, &[("MAYFLY_INBOX__MESSAGES_MAX", "1")]),
            (Place::SmallQueue, ingest, &small_queue),
        ];
        let started = wanted.iter().map(async |(place, service, settings)| {
            ((*place, *service), OwnProcess::start_with(&world, *service, settings).await)
        });
        let processes = join_all(started).await.into_iter().collect();
        // A connection that was opened ahead and kept would be closed by whoever is impatient, with a word in it.
        let client = Client::builder().redirect(Policy::none()).pool_max_idle_per_host(0).build();
        let client = client.expect("a client can be made");
        Self { document, world, client, processes, seen: Mutex::default() }
    }

    /// Sends a request; its answer must be documented.
    async fn send(&self, place: Place, request: &Request) -> Result<Answer, String> {
        let service = request.service(&self.document);
        let base = match self.processes.get(&(place, service)) {
            Some(process) => process.url(""),
            None if place == Place::Plain => self.world.url(service, ""),
            None => panic!("{service:?} has nothing at {place:?}"),
        };
        let answer = request.send(&self.client, &self.document, &base).await;
        let outcome = self.document.check(&request.operation, &answer).map_err(|wrong| {
            format!("{place:?} {request:?}: {wrong}\n{:?}\n{}", answer.headers, answer.text())
        })?;
        self.seen.lock().expect("nobody panicked with it").insert(outcome);
        Ok(answer)
    }

    /// Goes through a case; says what is wrong with its answers.
    pub async fn go_through(&self, case: Case) -> Result<(), String> {
        for request in &case.before {
            self.send(case.place, request).await?;
        }
        let answer = self.send(case.place, &case.request).await?;
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        if (answer.status, code.as_str()) == (case.status, case.code) {
            return Ok(());
        }
        Err(format!("{case:?}: {}\n{}", answer.status, answer.text()))
    }

    /// What was seen.
    pub fn seen(&self) -> BTreeSet<Outcome> {
        self.seen.lock().expect("nobody panicked with it").clone()
    }
}

/// Makes a database with tables of our names that are none of ours.
async fn make_foreign_database(world: &World) -> String {
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database(&format!("{}_spoilt", world.prefix)).await;
    let url = url.expect("a database can be made");
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    for table in ["messages", "dead_letters", "hosts", "page_hours"] {
        let made = client.batch_execute(&format!("CREATE TABLE {table} ()")).await;
        made.expect("a table can be made");
    }
    url
}

/// Writes a key that is good for the host `fred`, and that all are known.
async fn write_key(world: &World, prefix: &str) {
    let known = r#"{"id":"019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47","hosts":["fred"],"revoked":false}"#;
    write_elsewhere(world, "HSET", prefix, "keys", &[KeyHash::of("good").as_str(), known]).await;
    write_elsewhere(world, "SET", prefix, "keys:version", &["1"]).await;
}

/// Writes what another service, which nobody calls now, said of `fred`; that it refused a key; and that
/// many keys wait for `crowded`.
async fn write_sources(world: &World, prefix: &str) {
    write_key(world, prefix).await;
    // So late that it is not too old for any case.
    let sampled_at = SystemClock.now().plus(Duration::from_secs(30));
    let sighting = json!({"host": "fred", "sampled_at": sampled_at, "visitors": 3, "exact": true,
        "compared_to": sampled_at, "pages": [
            {"path": "/", "title": null, "visitors": 3, "before": 1, "usual": null}]});
    write_elsewhere(world, "SET", prefix, "rising:host:fred", &[&sighting.to_string()]).await;
    let refused = format!("rising:refused:{}:fred", KeyHash::of("refused"));
    write_elsewhere(world, "SET", prefix, &refused, &["1"]).await;
    for number in 0..100 {
        let key = format!("{number}");
        write_elsewhere(world, "HSET", prefix, "rising:pairs:crowded", &[&key, "1:x"]).await;
    }
}

/// Writes texts under a key of a Mayfly that nothing else is of.
async fn write_elsewhere(world: &World, command: &str, prefix: &str, key: &str, texts: &[&str]) {
    let mut redis = world.redis().await;
    let key = format!("{prefix}:{{0}}:{key}");
    let written = redis::cmd(command).arg(key).arg(texts).exec_async(&mut redis).await;
    written.expect("Redis writes");
}
