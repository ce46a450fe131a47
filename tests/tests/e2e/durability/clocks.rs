//! Processes with wrong clocks.

use std::time::Duration;

use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, ServiceProcess, Setup, World, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

/// An offset that is longer than the resume window and the time to live of most messages.
const OFFSET: Duration = Duration::from_secs(11 * 60);
/// Redis and this process use the same clock, but Redis caches the time for a moment.
const SLACK: Duration = Duration::from_millis(50);

/// Compiles a library that changes the clock of each process that preloads it. Returns the path of
/// the library.
async fn compile_clock(world: &World) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/durability/clock_offset.c");
    let library = world.spec.root.join("clock_offset.so");
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-shared", "-fPIC", source, "-o"]).arg(&library);
    assert!(compile.status().await.expect("a C compiler is installed").success());
    library.to_str().expect("valid UTF-8").to_owned()
}

/// Starts a service with a clock that is this many seconds ahead, or behind if negative.
async fn start(world: &World, library: &str, service: Service, seconds: i64) -> ServiceProcess {
    let seconds = seconds.to_string();
    let settings = [("LD_PRELOAD", library), ("CLOCK_OFFSET_SECONDS", &seconds)];
    ServiceProcess::start_with(world, service, &settings).await
}

fn time(message: &Value, field: &str) -> Timestamp {
    message[field].as_str().expect("a text").parse().expect("a time")
}

/// Returns the time in the ID of a message.
fn id_time(message: &Value) -> Timestamp {
    let digits: String = message["id"].as_str().expect("an ID").replace('-', "");
    Timestamp::from_millis(i64::from_str_radix(&digits[..12], 16).expect("hexadecimal digits"))
}

async fn post(world: &World, url: String, body: &Value) -> Value {
    let response = ApiResponse::send(world.http.post(url).json(body)).await;
    assert_eq!(response.status, 202, "{}", response.text());
    response.json()
}

/// Waits until a process exports this clock difference in its metrics.
async fn wait_for_difference(world: &World, process: &ServiceProcess, seconds: f64) {
    let url = format!("http://{}/metrics", process.admin);
    eventually(DEFAULT_TIMEOUT, "the difference of the clocks is exported", async || {
        let response = world.http.get(&url).send().await.expect("the admin port responds");
        let metrics = response.text().await.expect("a text");
        let name = "mayfly_clock_difference_seconds ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let difference: Option<f64> = line.and_then(|value| value.parse().ok());
        match difference {
            Some(difference) if (difference - seconds).abs() < 1.0 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_wrong_clocks_accept_take_and_trim_correctly() {
    let setup = Setup::new().scale(Service::IngestApi, 0).scale(Service::ListApi, 0);
    let world = setup.scale(Service::PersistWorker, 0).start().await;
    let library = compile_clock(&world).await;
    let offset = i64::try_from(OFFSET.as_secs()).expect("a small number");
    let ingest = start(&world, &library, Service::IngestApi, offset).await;
    let list = start(&world, &library, Service::ListApi, -offset).await;
    let fast_list = start(&world, &library, Service::ListApi, offset).await;
    let worker = start(&world, &library, Service::PersistWorker, offset).await;

    // The process that accepts the message has a clock that is ahead.
    let before = SystemClock.now().minus(SLACK);
    let body = json!({"username": "ana", "text": "x", "ttl": 60});
    let message = post(&world, ingest.url("/v1/messages"), &body).await;
    let after = SystemClock.now().plus(SLACK);
    let (created_at, expires_at) = (time(&message, "created_at"), time(&message, "expires_at"));
    assert!((before..=after).contains(&created_at), "{message}");
    assert!((before..=after).contains(&id_time(&message)), "{message}");
    assert_eq!(expires_at, created_at.plus(Duration::from_secs(60)));
    post(&world, ingest.url("/v1/messages"), &body).await;

    // The first process has a clock that is behind, and the second one a clock that is ahead.
    for process in [&list, &fast_list] {
        let url = process.url("/v1/users/ana/messages/take?limit=1");
        let before = SystemClock.now().minus(SLACK);
        let taken = ApiResponse::send(world.http.post(url)).await.json()["items"][0].clone();
        let after = SystemClock.now().plus(SLACK);
        assert!((before..=after).contains(&time(&taken, "expires_at")), "{taken}");
        let id = taken["id"].as_str().expect("an ID");
        let found = world.http.get(process.url(&format!("/v1/messages/{id}"))).send().await;
        let found: Value = found.expect("list-api responds").json().await.expect("JSON");
        assert_eq!(found, taken);
    }

    // Plays are trimmed as soon as they are counted. When this has happened, a worker that used its
    // own clock would also have trimmed the messages. Each entry fills a node of its stream, and
    // Redis trims whole nodes.
    let large: Vec<_> = (0..20).map(|_| json!({"text": "x", "data": "x".repeat(6_000)})).collect();
    post(&world, ingest.url("/v1/messages/batch"), &json!(large)).await;
    wait_until_stored(&world, 22).await;
    let plays = vec![json!({"video_id": "v"}); 1_000];
    for _ in 0..3 {
        post(&world, ingest.url("/v1/plays"), &json!(plays)).await;
    }
    eventually(DEFAULT_TIMEOUT, "the plays are trimmed", async || {
        match length(&world, "plays").await {
            1 => Ok(()),
            entries => Err(entries),
        }
    })
    .await;
    // 22 messages and two takes.
    assert_eq!(length(&world, "messages").await, 24);

    for (process, seconds) in [(&ingest, 660.0), (&list, -660.0), (&worker, 660.0)] {
        wait_for_difference(&world, process, seconds).await;
    }
    let (_, _, log) = ingest.terminate(DEFAULT_TIMEOUT).await;
    let reports = log.iter().filter(|line| line.contains("differs from that of Redis")).count();
    assert_eq!(reports, 1, "{log:#?}");
}

async fn wait_until_stored(world: &World, messages: i64) {
    eventually(DEFAULT_TIMEOUT, "all messages are stored", async || {
        let stored = world.query_count("SELECT count(*) FROM messages").await;
        if stored == messages { Ok(()) } else { Err(stored) }
    })
    .await;
}

async fn length(world: &World, stream: &str) -> u64 {
    let mut command = redis::cmd("XLEN");
    command.arg(world.key(stream));
    command.query_async(&mut world.redis().await).await.expect("Redis responds")
}
