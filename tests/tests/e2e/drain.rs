//! SIGTERM under load: clients that heed `Connection: close` notice nothing.

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
    Answer, Connection, Load, OwnProcess, PATIENCE, Reply, Setup, World, eventually, id_of,
    short_or_full,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

const CLIENTS: usize = 16;
/// Between two requests of a client: less than a drain, so that it learns of it.
const REQUEST_EVERY: Duration = Duration::from_millis(20);
/// The built-in `lifecycle.shutdown_timeout`.
const LEAVE_MAX: Duration = Duration::from_secs(25);

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
async fn an_ingest_api_that_drains_under_load_loses_no_accepted_message_and_resets_no_connection() {
    let world = start().await;
    let post = |number: usize, turn: usize| {
        let message = json!({"text": format!("{number} {turn}"), "ttl": 600});
        ("POST", "/v1/messages".to_owned(), message.to_string())
    };
    let replies = drain_under_load(&world, Service::IngestApi, post).await;
    let mut accepted = HashSet::new();
    for reply in replies {
        assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
        let message: Value = serde_json::from_slice(&reply.body).expect("the answer is JSON");
        assert!(accepted.insert(id_of(&message).to_owned()), "an id was given twice");
    }
    world.settle(PATIENCE).await;
    assert_eq!(world.stored_ids().await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_api_that_drains_under_load_answers_every_read_and_take_and_resets_no_connection() {
    let world = start().await;
    let hot = world.post_message(&json!({"text": "hot", "ttl": 600})).await;
    let cold = world.post_message(&json!({"text": "cold", "ttl": 0})).await;
    world.settle(PATIENCE).await;
    let paths = [hot, cold].map(|message| format!("/v1/messages/{}", id_of(&message)));
    let ask = move |number: usize, turn: usize| match turn % 4 {
        0 => ("GET", paths[0].clone(), String::new()),
        1 => ("GET", paths[1].clone(), String::new()),
        2 => ("GET", "/v1/messages".to_owned(), String::new()),
        _ => ("POST", format!("/v1/users/user-{number}/messages/take"), String::new()),
    };
    for reply in drain_under_load(&world, Service::ListApi, ask).await {
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persist_worker_that_drains_under_load_leaves_nothing_behind() {
    let world = start().await;
    let load = Load::start(&world, short_or_full(500, 2_000));
    for _ in 0..rounds() {
        let leaver = OwnProcess::start(&world, Service::PersistWorker).await;
        wait_until_it_stores(&world, &leaver).await;
        let (status, took, log) = leaver.leave(LEAVE_MAX).await;
        println!("persist-worker left with {status} after {took:?}");
        assert!(status.success(), "{status}: {log:?}");
        // Nobody has to wait until its entries are taken over.
        assert_eq!(pending_of_the_gone(&world).await, 0, "{log:?}");
    }
    let tally = load.stop().await;
    assert!(tally.refused.is_empty() && tally.unanswered == 0, "{tally:?}");
    world.settle(PATIENCE).await;
    let accepted: HashSet<String> = tally.accepted.into_iter().collect();
    assert_eq!(world.stored_ids().await, accepted);
}

/// Drains one instance of a service after another while clients send requests to it and to the one
/// that stays; gives every reply.
async fn drain_under_load(
    world: &World,
    service: Service,
    ask: impl Fn(usize, usize) -> (&'static str, String, String) + Clone + Send + 'static,
) -> Vec<Reply> {
    let mut all = Vec::new();
    for _ in 0..rounds() {
        let leaver = OwnProcess::start(world, service).await;
        let stays = world.url(service, "").replace("http://", "");
        let stays: SocketAddr = stays.parse().expect("it is an address");
        let leaving_at = leaver.http.expect("it takes requests");
        let stop = Arc::new(AtomicBool::new(false));
        let moved = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            // One half begins here, the other there.
            let addresses = if number % 2 == 0 { [leaving_at, stays] } else { [stays, leaving_at] };
            let client = KeepAliveClient { addresses, at: 0, moved: moved.clone() };
            let ask = ask.clone();
            clients.spawn(client.run(move |turn| ask(number, turn), stop.clone()));
        }
        sleep(drain_delay() / 2).await;
        let (status, took, log) = leaver.leave(LEAVE_MAX).await;
        sleep(drain_delay() / 2).await;
        stop.store(true, Ordering::Relaxed);
        let before = all.len();
        while let Some(replies) = clients.join_next().await {
            all.extend(replies.expect("no connection is refused or reset"));
        }
        println!("{service} left with {status} after {took:?}, {} replies", all.len() - before);
        assert!(status.success(), "{status}: {log:?}");
        assert!(took >= drain_delay(), "it did not accept on: {took:?}");
        assert_eq!(moved.load(Ordering::Relaxed), CLIENTS / 2, "a client was not asked to close");
    }
    all
}

/// A client of two instances that stays with one until it is asked to close.
struct KeepAliveClient {
    addresses: [SocketAddr; 2],
    at: usize,
    moved: Arc<AtomicUsize>,
}

impl KeepAliveClient {
    /// Sends requests until told to stop; any connection that breaks is the end of the test.
    async fn run(
        mut self,
        ask: impl Fn(usize) -> (&'static str, String, String),
        stop: Arc<AtomicBool>,
    ) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut ticks = interval(REQUEST_EVERY);
        let mut connection = self.connect().await;
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let (method, path, body) = ask(replies.len());
            let sent = connection.send(method, &path, &body).await;
            let reply = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            if reply.close {
                self.at = 1 - self.at;
                self.moved.fetch_add(1, Ordering::Relaxed);
                connection = self.connect().await;
            }
            replies.push(reply);
        }
        replies
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.addresses[self.at]).await.expect("the connection is accepted")
    }
}

async fn wait_until_it_stores(world: &World, worker: &OwnProcess) {
    let url = format!("http://{}/metrics", worker.admin);
    eventually(PATIENCE, "the worker stores", async || {
        let metrics = Answer::of(world.http.get(&url)).await.text();
        let mut stored = metrics.lines().filter(|line| line.starts_with("mayfly_stored_total{"));
        if stored.any(|line| !line.ends_with(" 0")) { Ok(()) } else { Err("nothing stored") }
    })
    .await;
}

/// How many entries are pending with consumers that are none of the stack's workers.
async fn pending_of_the_gone(world: &World) -> usize {
    let stays: Vec<String> = world
        .stack
        .env()
        .pids(Service::PersistWorker)
        .iter()
        .map(|pid| format!("{pid}-"))
        .collect();
    let mut asked = redis::cmd("XPENDING");
    asked.arg(world.key("messages")).arg("persist").arg("-").arg("+").arg(100_000);
    let rows: Vec<(String, String, u64, u64)> =
        asked.query_async(&mut world.redis().await).await.expect("Redis answers");
    rows.iter()
        .filter(|(_, consumer, ..)| !stays.iter().any(|pid| consumer.starts_with(pid)))
        .count()
}
