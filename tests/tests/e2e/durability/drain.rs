//! SIGTERM under load: clients that honor `Connection: close` see no error.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Load, RawConnection, RawResponse, ServiceProcess, Setup, World,
    eventually, message_id, short_or_full,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

const CLIENTS: usize = 16;
/// The interval between two requests of a client, shorter than the drain.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);
/// The default of `lifecycle.shutdown_timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

fn rounds() -> usize {
    short_or_full(1, 5)
}

fn drain_delay() -> Duration {
    Duration::from_secs(short_or_full(1, 2))
}

async fn start() -> World {
    let delay = format!("{}s", drain_delay().as_secs());
    Setup::new().set("MAYFLY_HTTP__DRAIN_DELAY", &delay).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_api_drains_under_load_without_loss_or_reset() {
    let world = start().await;
    let post = |number: usize, index: usize| {
        let message = json!({"text": format!("{number} {index}"), "ttl": 600});
        ("POST", "/v1/messages".to_owned(), message.to_string())
    };
    let replies = drain_under_load(&world, Service::IngestApi, post).await;
    let mut accepted = HashSet::new();
    for reply in replies {
        assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
        let message: Value = serde_json::from_slice(&reply.body).expect("the response is JSON");
        assert!(accepted.insert(message_id(&message).to_owned()), "duplicate ID");
    }
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_eq!(world.stored_ids().await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_api_drains_under_load_without_failure_or_reset() {
    let world = start().await;
    let hot = world.post_message(&json!({"text": "hot", "ttl": 600})).await;
    let cold = world.post_message(&json!({"text": "cold", "ttl": 0})).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let paths = [hot, cold].map(|message| format!("/v1/messages/{}", message_id(&message)));
    let build_request = move |number: usize, index: usize| match index % 4 {
        0 => ("GET", paths[0].clone(), String::new()),
        1 => ("GET", paths[1].clone(), String::new()),
        2 => ("GET", "/v1/messages".to_owned(), String::new()),
        _ => ("POST", format!("/v1/users/user-{number}/messages/take"), String::new()),
    };
    for reply in drain_under_load(&world, Service::ListApi, build_request).await {
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn persist_worker_drains_under_load_without_pending_entries() {
    let world = start().await;
    let load = Load::start(&world, short_or_full(500, 2_000));
    for _ in 0..rounds() {
        let draining = ServiceProcess::start(&world, Service::PersistWorker).await;
        wait_until_storing(&world, &draining).await;
        let (status, elapsed, log) = draining.terminate(SHUTDOWN_TIMEOUT).await;
        println!("persist-worker exited with {status} after {elapsed:?}");
        assert!(status.success(), "{status}: {log:?}");
        // No entries of the exited worker wait to be claimed.
        assert_eq!(pending_of_exited_consumers(&world).await, 0, "{log:?}");
    }
    let report = load.stop().await;
    assert!(report.rejected.is_empty() && report.unanswered == 0, "{report:?}");
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let accepted: HashSet<String> = report.accepted.into_iter().collect();
    assert_eq!(world.stored_ids().await, accepted);
}

/// Repeatedly drains an additional instance of a service while clients send requests to this
/// instance and to a permanent one. Returns all replies.
async fn drain_under_load(
    world: &World,
    service: Service,
    build_request: impl Fn(usize, usize) -> (&'static str, String, String) + Clone + Send + 'static,
) -> Vec<RawResponse> {
    let mut all = Vec::new();
    for _ in 0..rounds() {
        let draining = ServiceProcess::start(world, service).await;
        let permanent = world.url(service, "").replace("http://", "");
        let permanent: SocketAddr = permanent.parse().expect("a valid address");
        let draining_address = draining.http.expect("the service accepts requests");
        let stop = Arc::new(AtomicBool::new(false));
        let switches = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            // Half of the clients start at each instance.
            let addresses = if number % 2 == 0 {
                [draining_address, permanent]
            } else {
                [permanent, draining_address]
            };
            let client = KeepAliveClient { addresses, current: 0, switches: switches.clone() };
            let build_request = build_request.clone();
            clients.spawn(client.run(move |index| build_request(number, index), stop.clone()));
        }
        sleep(drain_delay() / 2).await;
        let (status, elapsed, log) = draining.terminate(SHUTDOWN_TIMEOUT).await;
        sleep(drain_delay() / 2).await;
        stop.store(true, Ordering::Relaxed);
        let before = all.len();
        while let Some(replies) = clients.join_next().await {
            all.extend(replies.expect("no connection is rejected or reset"));
        }
        println!(
            "{service} exited with {status} after {elapsed:?}, {} replies",
            all.len() - before
        );
        assert!(status.success(), "{status}: {log:?}");
        assert!(elapsed >= drain_delay(), "the drain was too short: {elapsed:?}");
        assert_eq!(
            switches.load(Ordering::Relaxed),
            CLIENTS / 2,
            "a client was not asked to close"
        );
    }
    all
}

/// A client that switches between two instances when a response has `Connection: close`.
struct KeepAliveClient {
    addresses: [SocketAddr; 2],
    current: usize,
    switches: Arc<AtomicUsize>,
}

impl KeepAliveClient {
    /// Sends requests until the client is stopped. Panics if a connection breaks.
    async fn run(
        mut self,
        build_request: impl Fn(usize) -> (&'static str, String, String),
        stop: Arc<AtomicBool>,
    ) -> Vec<RawResponse> {
        let mut replies = Vec::new();
        let mut ticks = interval(REQUEST_INTERVAL);
        let mut connection = self.connect().await;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let (method, path, body) = build_request(replies.len());
            let sent = connection.send(method, &path, &body).await;
            let reply = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            if reply.close {
                self.current = 1 - self.current;
                self.switches.fetch_add(1, Ordering::Relaxed);
                connection = self.connect().await;
            }
            replies.push(reply);
        }
        replies
    }

    async fn connect(&self) -> RawConnection {
        RawConnection::open(self.addresses[self.current]).await.expect("the connection is accepted")
    }
}

async fn wait_until_storing(world: &World, worker: &ServiceProcess) {
    let url = format!("http://{}/metrics", worker.admin);
    eventually(DEFAULT_TIMEOUT, "the worker stores messages", async || {
        let metrics = ApiResponse::send(world.http.get(&url)).await.text();
        let mut stored = metrics.lines().filter(|line| line.starts_with("mayfly_stored_total{"));
        if stored.any(|line| !line.ends_with(" 0")) { Ok(()) } else { Err("nothing stored") }
    })
    .await;
}

/// Returns the number of entries pending for consumers that are not workers of the stack.
async fn pending_of_exited_consumers(world: &World) -> usize {
    let permanent: Vec<String> = world
        .stack
        .env()
        .pids(Service::PersistWorker)
        .iter()
        .map(|pid| format!("{pid}-"))
        .collect();
    let mut command = redis::cmd("XPENDING");
    command.arg(world.key("messages")).arg("persist").arg("-").arg("+").arg(100_000);
    let rows: Vec<(String, String, u64, u64)> =
        command.query_async(&mut world.redis().await).await.expect("Redis responds");
    rows.iter()
        .filter(|(_, consumer, ..)| !permanent.iter().any(|pid| consumer.starts_with(pid)))
        .count()
}
