//! Other clients during an attack.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, is_full,
    live::{LiveSocket, UpgradeRequest, rss_bytes},
    short_or_full,
};
use serde_json::json;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{SERVICES, Target};

/// The number of other clients.
const CLIENTS: usize = 4;
/// The interval between two uses of a client.
const INTERVAL: Duration = Duration::from_millis(10);
/// The duration of a measurement without an attack, and the minimum duration of an attack.
const MEASURED: Duration = Duration::from_secs(5);
/// The maximum factor by which an attack may increase the 99th percentile of the latencies.
const P99_FACTOR_MAX: f64 = 1.2;
/// The number of measurements. A delay that the load of the machine causes is not in all of them.
const ROUNDS: usize = 3;
/// The maximum growth of the memory of a process.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;

/// The durations of posting a message, of its delivery, and of reading it.
type Durations = [Vec<Duration>; 3];

/// Posts, receives and reads a message.
async fn use_once(target: &Target, live: &mut LiveSocket, channel: &str) -> [Duration; 3] {
    let world = &target.world;
    let text = Uuid::now_v7().to_string();
    let message = json!({"channel": channel, "text": text, "ttl": 600});
    let started = Instant::now();
    let request = world.http.post(world.ingest_url("/v1/messages")).json(&message);
    let posted = ApiResponse::send(request).await.expect_status(202);
    let post = started.elapsed();
    while live.next_of_type("message").await["message"]["text"] != text.as_str() {}
    let delivery = started.elapsed();
    let id = posted["id"].as_str().expect("the message has an ID");
    let started = Instant::now();
    let request = world.http.get(world.list_url(&format!("/v1/messages/{id}")));
    ApiResponse::send(request).await.expect_status(200);
    [post, delivery, started.elapsed()]
}

/// Uses the service as one client until stopped, and at least once.
async fn use_until(target: &Target, number: usize, stop: &AtomicBool) -> Durations {
    let channel = format!("bystander-{number}");
    let url = target.world.live_url(&format!("channel={channel}"));
    let bearer = format!("Bearer {}", target.key);
    let request = UpgradeRequest::new(&url).header("authorization", &bearer);
    let mut live = request.send().await.expect("the socket opens");
    // Earlier messages are not received.
    live.next_of_type("hello").await;
    let mut all = Durations::default();
    loop {
        let durations = use_once(target, &mut live, &channel).await;
        for (all, one) in all.iter_mut().zip(durations) {
            all.push(one);
        }
        if stop.load(Ordering::Relaxed) {
            return all;
        }
        sleep(INTERVAL).await;
    }
}

/// Returns the 99th percentiles of the latencies of all clients while an action runs.
async fn measure(target: &Target, action: impl Future<Output = ()>) -> [Duration; 3] {
    let stop = AtomicBool::new(false);
    let using = join_all((0..CLIENTS).map(|number| use_until(target, number, &stop)));
    let acting = async {
        action.await;
        stop.store(true, Ordering::Relaxed);
    };
    let (clients, ()) = tokio::join!(using, acting);
    let mut all = Durations::default();
    for client in clients {
        for (all, one) in all.iter_mut().zip(client) {
            all.extend(one);
        }
    }
    all.map(|mut durations| {
        durations.sort_unstable();
        durations[(durations.len() - 1) * 99 / 100]
    })
}

/// Returns the resident memory of each service.
fn read_memory(target: &Target) -> [u64; 3] {
    SERVICES.map(|service| rss_bytes(target.world.stack.env().pids(service)[0]))
}

/// Runs an action, and asserts that the memory of no service grows by more than a few MiB in the
/// meantime.
async fn limit_memory(target: &Target, name: &str, action: impl Future<Output = ()>) {
    let before = read_memory(target);
    let mut highest = before;
    tokio::pin!(action);
    let mut is_running = true;
    while is_running {
        is_running = timeout(Duration::from_millis(50), &mut action).await.is_err();
        for (highest, now) in highest.iter_mut().zip(read_memory(target)) {
            *highest = now.max(*highest);
        }
    }
    let growth: Vec<_> = highest.iter().zip(before).map(|(now, before)| now - before).collect();
    println!("{name}: {before:?} bytes grew by {growth:?}");
    assert!(growth.iter().all(|bytes| *bytes < GROWTH_MAX), "{name}: {growth:?} bytes");
}

/// Runs an attack, and asserts that it affects neither the memory of the services nor other
/// clients. `attack` asserts that the attackers are refused.
pub(super) async fn check_attack(target: &Target, name: &str, attack: impl AsyncFn()) {
    // Everything that is allocated once.
    attack().await;
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let idle = sleep(short_or_full(Duration::from_millis(500), MEASURED));
        let before = measure(target, idle).await;
        let attacking = async {
            let started = Instant::now();
            loop {
                attack().await;
                if !is_full() || started.elapsed() >= MEASURED {
                    return;
                }
            }
        };
        let during = measure(target, limit_memory(target, name, attacking)).await;
        println!("{name}: p99 of post, delivery and read: {before:?}, then {during:?}");
        let is_affected = before
            .iter()
            .zip(during)
            .any(|(before, during)| during.as_secs_f64() > before.as_secs_f64() * P99_FACTOR_MAX);
        // In the short form, other tests use the machine at the same time.
        if !is_full() || !is_affected {
            return;
        }
        measured.push((before, during));
    }
    panic!("{name}: p99 of post, delivery and read, before and during the attack: {measured:?}");
}

/// Returns the result of an attacker, which the service must end in time.
pub(super) async fn expect_end<T>(name: &str, attacker: impl Future<Output = T>) -> T {
    let ended = timeout(2 * DEFAULT_TIMEOUT, attacker).await;
    ended.unwrap_or_else(|_| panic!("{name}: the service does not end the connection"))
}
