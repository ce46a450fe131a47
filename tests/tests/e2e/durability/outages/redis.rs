//! Redis is unavailable: writes are rejected quickly and recover on their own.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{
    DEFAULT_TIMEOUT, Setup, World, eventually, message_id, message_ids, short_or_full,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Outage, get, interrupt, post, restore, wait_for_readyz};

/// Returns the contractual limit of one second, or more in a short run, which shares the machine.
fn max_write() -> Duration {
    Duration::from_secs(short_or_full(3, 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_rejected_within_a_second_while_redis_is_stopped() {
    run(Outage::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_rejected_within_a_second_while_redis_is_frozen() {
    run(Outage::Frozen).await;
}

async fn run(outage: Outage) {
    let world = Setup::new().dedicated_servers().default_timeouts().start().await;
    let inbox = fill_inbox(&world).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let pids = world.service_pids();

    let guard = interrupt(&world, ProcessKind::Redis, outage).await;
    let until = Instant::now() + Duration::from_secs(short_or_full(1, 30));
    let (mut longest, mut unknown) = (Duration::ZERO, 0);
    while longest.is_zero() || Instant::now() < until {
        let (elapsed, unavailable) = assert_unavailable(&world).await;
        longest = longest.max(elapsed);
        unknown += unavailable;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(unknown > 0, "no write was sent");
    for service in [Service::IngestApi, Service::ListApi, Service::PersistWorker] {
        wait_for_readyz(&world, service, 503, "redis").await;
        assert_eq!(world.admin(service, "/livez").await.0, 200);
    }
    restore(&world, ProcessKind::Redis, guard).await;

    let restored_at = Instant::now();
    let message = wait_until_accepted(&world).await;
    println!(
        "{outage:?}: longest rejection {longest:?}, accepted {:?} after the restore",
        restored_at.elapsed()
    );
    assert_inbox_is_unchanged(&world, &inbox).await;
    world.wait_until_processed(Duration::from_secs(10)).await;
    // The message need not be the newest: the worker has two writers, and Redis may have executed
    // other writes.
    let (status, listed) = world.get("/v1/messages?order=desc&limit=1000").await;
    let listed = listed["items"].as_array().expect("the response has `items`");
    assert!(status == 200 && message_ids(listed).contains(&message_id(&message)), "{listed:?}");
    // A write that was sent may have been executed. A write rejected as overloaded was not sent.
    let taken = world.take("fred").await;
    assert_eq!(message_ids(&taken)[..inbox.len()], message_ids(&inbox));
    let executed = taken.len() - inbox.len();
    let executed_max = if outage == Outage::Frozen { unknown } else { 0 };
    assert!(executed <= executed_max, "{executed} rejected writes were executed");
    for service in [Service::IngestApi, Service::ListApi, Service::PersistWorker] {
        wait_for_readyz(&world, service, 200, "ready").await;
    }
    assert_eq!(world.service_pids(), pids, "a service was restarted");
}

async fn fill_inbox(world: &World) -> Vec<Value> {
    let mut inbox = Vec::new();
    for ttl in [60, 120, 600] {
        let message = json!({"text": "for later", "username": "fred", "ttl": ttl});
        inbox.push(world.post_message(&message).await);
    }
    inbox
}

/// Checks concurrent writes, and reads. Returns the duration of the slowest write, and the number of
/// writes that may have been executed.
async fn assert_unavailable(world: &World) -> (Duration, usize) {
    let message = json!({"text": "no", "username": "fred"});
    let writes = join_all((0..20).map(|_| post(world, &message))).await;
    let mut unavailable = 0;
    for (response, elapsed) in &writes {
        let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
        if code == "overloaded" {
            response.expect_problem(503, "overloaded");
        } else {
            response.expect_problem(503, "unavailable");
            unavailable += 1;
        }
        assert!(*elapsed < max_write(), "a write took {elapsed:?}");
    }
    let (inbox, elapsed) = get(world, "/v1/users/fred/messages").await;
    inbox.expect_problem(503, "unavailable");
    assert!(elapsed < max_write(), "an inbox read took {elapsed:?}");
    // The list needs only Postgres.
    assert_eq!(get(world, "/v1/messages").await.0.status, 200);
    (writes.iter().map(|(_, elapsed)| *elapsed).max().unwrap_or_default(), unavailable)
}

async fn wait_until_accepted(world: &World) -> Value {
    eventually(Duration::from_secs(5), "writes are accepted", async || {
        let (response, _) = post(world, &json!({"text": "again"})).await;
        if response.status == 202 { Ok(response.json()) } else { Err(response.text()) }
    })
    .await
}

/// Checks that the inbox and the TTLs of its messages are unchanged.
async fn assert_inbox_is_unchanged(world: &World, inbox: &[Value]) {
    let response_body = eventually(Duration::from_secs(5), "inboxes are readable", async || {
        let (response, _) = get(world, "/v1/users/fred/messages").await;
        if response.status == 200 { Ok(response.json()) } else { Err(response.text()) }
    })
    .await;
    let response_body = response_body["items"].as_array().expect("the response has `items`");
    let expected_items: Vec<_> =
        response_body.iter().filter(|message| message["text"] == "for later").collect();
    assert_eq!(expected_items, inbox.iter().collect::<Vec<_>>());
    // The TTL of a copy starts when Redis executes the write, which is after `expires_at` was set.
    let delay_max = i64::try_from(max_write().as_millis()).expect("seconds");
    for message in inbox {
        let expires_at = message["expires_at"].as_str().expect("a valid time");
        let expires_at = chrono::DateTime::parse_from_rfc3339(expires_at).expect("a valid time");
        let remaining = expires_at.timestamp_millis() - now_ms();
        let pttl = world.pttl(message_id(message)).await;
        assert!(
            (remaining - 2_000..=remaining + delay_max).contains(&pttl),
            "PTTL {pttl} ms, expected {remaining} ms"
        );
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("before 2262")
}
