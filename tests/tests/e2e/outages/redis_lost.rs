//! Redis is emptied, is full, or forbids to publish.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, id_of};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::post;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_flushall_writes_go_on_within_two_seconds_and_storing_within_five() {
    let world = Setup::new().own_servers().built_in_timeouts().start().await;
    for _ in 0..20 {
        world.post_message(&json!({"text": "before"})).await;
    }
    let before = world.settle(PATIENCE).await;
    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis forgets");

    let flushed = Instant::now();
    let message = eventually(Duration::from_secs(2), "writes go on", async || {
        let (answer, _) = post(&world, &json!({"text": "after"})).await;
        if answer.status == 202 { Ok(answer.json()) } else { Err(answer.text()) }
    })
    .await;
    let accepted = flushed.elapsed();
    let left = Duration::from_secs(5).saturating_sub(accepted);
    eventually(left, "storing goes on", async || {
        if world.stored_ids().await.contains(id_of(&message)) { Ok(()) } else { Err(()) }
    })
    .await;
    println!("accepted {accepted:?} and stored {:?} after the data was lost", flushed.elapsed());

    let after = world.settle(PATIENCE).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.accepted, after.stored), (1, 1));
    eventually(PATIENCE, "the old epoch is ended", async || {
        let ended = "SELECT count(*) FROM ledger WHERE ended_at IS NOT NULL AND stored = 20";
        let all = world.count("SELECT count(*) FROM ledger WHERE kind = 'messages'").await;
        match (world.count(ended).await, all) {
            (1, 2) => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
    let (adds_up, words) = world.audit().await;
    assert!(adds_up && words.contains("lost: 0"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_forbids_to_publish_messages_are_accepted_and_stored_and_it_is_counted() {
    let world = Setup::new().redis_rules("-publish").start().await;
    let message = world.post_message(&json!({"text": "quietly", "username": "fred"})).await;
    assert_eq!(world.take("fred").await[0]["id"], message["id"], "a take publishes too");
    world.settle(PATIENCE).await;
    assert!(world.stored_ids().await.contains(id_of(&message)));
    for service in [Service::IngestApi, Service::ListApi] {
        assert!(publish_failures(&world, service).await >= 1, "{service} counted no failure");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_forbids_the_channel_messages_are_accepted_and_it_is_counted() {
    let world = Setup::new().redis_rules("").start().await;
    world.post_message(&json!({"text": "quietly"})).await;
    world.settle(PATIENCE).await;
    assert!(publish_failures(&world, Service::IngestApi).await >= 1);
}

async fn publish_failures(world: &World, service: Service) -> u64 {
    let (_, metrics) = world.admin(service, "/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with("mayfly_publish_failures_total"));
    let number = line.and_then(|line| line.rsplit(' ').next()).and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

/// Messages that fill Redis, and their size.
const HEAVY: usize = 300;
const HEAVY_BYTES: usize = 60 * 1024;
/// What Redis may hold beyond what it held without them: less than half of them.
const ROOM_BYTES: u64 = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_writes_and_takes_and_acknowledgements_make_room_again() {
    let world = Setup::new()
        .own_servers()
        .set("MAYFLY_QUEUE__ATTEMPTS_MAX", "2")
        .set("MAYFLY_PERSIST__RETRY_AFTER", "100ms")
        .start()
        .await;
    let pids = world.service_pids();
    let refuse = "ALTER TABLE messages ADD CHECK (text <> 'poison')";
    world.postgres().await.batch_execute(refuse).await.expect("the table is altered");
    let empty = used_memory(&world).await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    world.post_message(&json!({"text": "poison"})).await;
    let text = "x".repeat(4_000);
    let heavy = json!({"data": vec![text; HEAVY_BYTES / 4_000], "username": "fred", "ttl": 600});
    for _ in 0..HEAVY / 50 {
        let batch = vec![heavy.clone(); 50];
        assert_eq!(world.post("/v1/messages/batch", &batch.into()).await.status(), 202);
    }
    set_memory_max(&world, empty + ROOM_BYTES).await;
    post(&world, &json!({"text": "one more"})).await.0.expect_problem(503, "overloaded");

    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.settle(PATIENCE).await;
    assert_eq!(
        world.count("SELECT count(*) FROM messages").await,
        i64::try_from(HEAVY).expect("small")
    );
    post(&world, &json!({"text": "one more"})).await.0.expect_problem(503, "overloaded");

    assert_eq!(take_all(&world).await, HEAVY, "taking goes on");
    eventually(PATIENCE, "there is room again", async || {
        let (answer, _) = post(&world, &json!({"text": "one more"})).await;
        if answer.status == 202 { Ok(()) } else { Err(used_memory(&world).await) }
    })
    .await;
    world.settle(PATIENCE).await;
    let expired = "SELECT count(*) FROM messages WHERE username = 'fred' AND expires_at < now()";
    assert_eq!(world.count(expired).await, i64::try_from(HEAVY).expect("small"));
    let now = world.service_pids();
    assert_eq!(pids.iter().filter(|pid| now.contains(pid)).count(), pids.len() - 1, "{now:?}");
}

/// Takes until nothing is left; gives how many messages there were.
async fn take_all(world: &World) -> usize {
    let mut taken = 0;
    loop {
        let take = world.http.post(world.list("/v1/users/fred/messages/take"));
        let page: Value = Answer::of(take).await.expect(200);
        taken += page["items"].as_array().map_or(0, Vec::len);
        if page["has_more"] == false {
            return taken;
        }
    }
}

async fn used_memory(world: &World) -> u64 {
    let mut redis = world.redis().await;
    let asked = redis::cmd("INFO").arg("memory").query_async(&mut redis).await;
    let info: redis::InfoDict = asked.expect("Redis answers");
    info.get("used_memory").expect("Redis knows what it uses")
}

async fn set_memory_max(world: &World, bytes: u64) {
    let mut redis = world.redis().await;
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("maxmemory").arg(bytes);
    command.exec_async(&mut redis).await.expect("Redis takes it");
}
