//! Redis is away: writes are refused at once, and go on by themselves.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_stack::{Part, Service};
use mayfly_tests::{PATIENCE, Setup, World, eventually, id_of, ids_of, short_or_full};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Away, bring_back, get, post, take_away, wait_for_readyz};

/// A second, as the contract says; beside other tests an answer of the built-in timeout may come later.
fn write_max() -> Duration {
    Duration::from_secs(short_or_full(3, 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_stopped_writes_are_refused_within_a_second_and_afterwards_all_goes_on() {
    go_through(Away::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_frozen_writes_are_refused_within_a_second_and_afterwards_all_goes_on() {
    go_through(Away::Frozen).await;
}

async fn go_through(how: Away) {
    let world = Setup::new().own_servers().built_in_timeouts().start().await;
    let inbox = fill_inbox(&world).await;
    world.settle(PATIENCE).await;
    let pids = world.service_pids();

    let away = take_away(&world, Part::Redis, how).await;
    let until = Instant::now() + Duration::from_secs(short_or_full(1, 30));
    let mut longest = Duration::ZERO;
    while longest.is_zero() || Instant::now() < until {
        longest = longest.max(assert_unavailable(&world).await);
        sleep(Duration::from_millis(100)).await;
    }
    for service in [Service::IngestApi, Service::ListApi, Service::PersistWorker] {
        wait_for_readyz(&world, service, 503, "redis").await;
        assert_eq!(world.admin(service, "/livez").await.0, 200);
    }
    bring_back(&world, Part::Redis, away).await;

    let back = Instant::now();
    let message = wait_until_accepted(&world).await;
    println!(
        "{how:?}: longest refusal {longest:?}, accepted {:?} after it was back",
        back.elapsed()
    );
    assert_inbox_is_there(&world, &inbox).await;
    world.settle(Duration::from_secs(10)).await;
    let (status, walked) = world.get("/v1/messages?order=desc&limit=1").await;
    assert_eq!((status, &walked["items"][0]["id"]), (200, &message["id"]));
    // A write that was refused because no answer came in time may have happened all the same.
    let taken = world.take("fred").await;
    assert_eq!(ids_of(&taken)[..inbox.len()], ids_of(&inbox));
    assert!(how == Away::Frozen || taken.len() == inbox.len(), "a refused write happened");
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

/// Many writes at once, reads and takes; gives how long the longest write took.
async fn assert_unavailable(world: &World) -> Duration {
    let message = json!({"text": "no", "username": "fred"});
    let writes = join_all((0..20).map(|_| post(world, &message))).await;
    for (answer, took) in &writes {
        answer.expect_problem(503, "unavailable");
        assert!(*took < write_max(), "a write took {took:?}");
    }
    let (inbox, took) = get(world, "/v1/users/fred/messages").await;
    inbox.expect_problem(503, "unavailable");
    assert!(took < write_max(), "a look at an inbox took {took:?}");
    // The walk needs Postgres alone.
    assert_eq!(get(world, "/v1/messages").await.0.status, 200);
    writes.iter().map(|(_, took)| *took).max().unwrap_or_default()
}

async fn wait_until_accepted(world: &World) -> Value {
    eventually(Duration::from_secs(5), "writes go on", async || {
        let (answer, _) = post(world, &json!({"text": "again"})).await;
        if answer.status == 202 { Ok(answer.json()) } else { Err(answer.text()) }
    })
    .await
}

/// The inbox holds what it held, each with what is left of its time to live.
async fn assert_inbox_is_there(world: &World, inbox: &[Value]) {
    let seen = eventually(Duration::from_secs(5), "inboxes can be read", async || {
        let (answer, _) = get(world, "/v1/users/fred/messages").await;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    })
    .await;
    let seen = seen["items"].as_array().expect("there are items");
    let kept: Vec<_> = seen.iter().filter(|message| message["text"] == "for later").collect();
    assert_eq!(kept, inbox.iter().collect::<Vec<_>>());
    for message in inbox {
        let expires_at = message["expires_at"].as_str().expect("it is a time");
        let expires_at = chrono::DateTime::parse_from_rfc3339(expires_at).expect("it is a time");
        let left = expires_at.timestamp_millis() - now_ms();
        let pttl = world.pttl(id_of(message)).await;
        assert!((left - 2_000..=left + 50).contains(&pttl), "{pttl} ms of {left} ms are left");
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("it is after 1970").as_millis()).expect("it is before 2262")
}
