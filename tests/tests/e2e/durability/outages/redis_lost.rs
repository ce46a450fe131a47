//! Redis is flushed, is full, or denies PUBLISH.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, message_id};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::post;

#[tokio::test(flavor = "multi_thread")]
async fn writes_recover_within_two_seconds_of_flushall_and_storing_within_five() {
    let world = Setup::new().dedicated_servers().default_timeouts().start().await;
    for _ in 0..20 {
        world.post_message(&json!({"text": "before"})).await;
    }
    let before = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");

    let flushed = Instant::now();
    let message = eventually(Duration::from_secs(2), "writes are accepted", async || {
        let (response, _) = post(&world, &json!({"text": "after"})).await;
        if response.status == 202 { Ok(response.json()) } else { Err(response.text()) }
    })
    .await;
    let accepted = flushed.elapsed();
    let remaining = Duration::from_secs(5).saturating_sub(accepted);
    eventually(remaining, "the message is stored", async || {
        if world.stored_ids().await.contains(message_id(&message)) { Ok(()) } else { Err(()) }
    })
    .await;
    println!("accepted {accepted:?} and stored {:?} after the data was lost", flushed.elapsed());

    let after = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.accepted, after.stored), (1, 1));
    eventually(DEFAULT_TIMEOUT, "the old epoch is ended", async || {
        let ended = "SELECT count(*) FROM ledger WHERE ended_at IS NOT NULL AND stored = 20";
        let all = world.query_count("SELECT count(*) FROM ledger WHERE kind = 'messages'").await;
        match (world.query_count(ended).await, all) {
            (1, 2) => Ok(()),
            actual => Err(actual),
        }
    })
    .await;
    let (passed, output) = world.audit().await;
    assert!(passed && output.contains("lost: 0"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_publish_is_counted_and_messages_are_accepted_and_stored() {
    let world = Setup::new().redis_acl("-publish").start().await;
    let message = world.post_message(&json!({"text": "quietly", "username": "fred"})).await;
    assert_eq!(world.take("fred").await[0]["id"], message["id"], "a take also publishes");
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert!(world.stored_ids().await.contains(message_id(&message)));
    for service in [Service::IngestApi, Service::ListApi] {
        assert!(publish_failures(&world, service).await >= 1, "{service} counted no failure");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_channel_is_counted_and_messages_are_accepted() {
    let world = Setup::new().redis_acl("").start().await;
    world.post_message(&json!({"text": "quietly"})).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert!(publish_failures(&world, Service::IngestApi).await >= 1);
}

async fn publish_failures(world: &World, service: Service) -> u64 {
    let (_, metrics) = world.admin(service, "/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with("mayfly_publish_failures_total"));
    let number = line.and_then(|line| line.rsplit(' ').next()).and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

/// The number and size of the messages that fill Redis.
const LARGE_MESSAGES: usize = 300;
const LARGE_MESSAGE_BYTES: usize = 60 * 1024;
/// The additional memory that Redis may use: less than half of the messages need.
const EXTRA_MEMORY_BYTES: u64 = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn full_redis_rejects_writes_until_takes_and_acknowledgments_free_memory() {
    let world = Setup::new()
        .dedicated_servers()
        .set("MAYFLY_QUEUE__ATTEMPTS_MAX", "2")
        .set("MAYFLY_PERSIST__RETRY_AFTER", "100ms")
        .start()
        .await;
    let pids = world.service_pids();
    let constraint = "ALTER TABLE messages ADD CHECK (text <> 'poison')";
    world.postgres().await.batch_execute(constraint).await.expect("the table is altered");
    let empty = used_memory(&world).await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    world.post_message(&json!({"text": "poison"})).await;
    let text = "x".repeat(4_000);
    let large =
        json!({"data": vec![text; LARGE_MESSAGE_BYTES / 4_000], "username": "fred", "ttl": 600});
    for _ in 0..LARGE_MESSAGES / 50 {
        let batch = vec![large.clone(); 50];
        assert_eq!(world.post("/v1/messages/batch", &batch.into()).await.status(), 202);
    }
    set_maxmemory(&world, empty + EXTRA_MEMORY_BYTES).await;
    post(&world, &json!({"text": "one more"})).await.0.expect_problem(503, "overloaded");

    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_eq!(
        world.query_count("SELECT count(*) FROM messages").await,
        i64::try_from(LARGE_MESSAGES).expect("fits in the integer type")
    );
    post(&world, &json!({"text": "one more"})).await.0.expect_problem(503, "overloaded");

    assert_eq!(take_all(&world).await, LARGE_MESSAGES, "takes work while Redis is full");
    eventually(DEFAULT_TIMEOUT, "writes are accepted again", async || {
        let (response, _) = post(&world, &json!({"text": "one more"})).await;
        if response.status == 202 { Ok(()) } else { Err(used_memory(&world).await) }
    })
    .await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let expired = "SELECT count(*) FROM messages WHERE username = 'fred' AND expires_at < now()";
    assert_eq!(
        world.query_count(expired).await,
        i64::try_from(LARGE_MESSAGES).expect("fits in the integer type")
    );
    let now = world.service_pids();
    assert_eq!(pids.iter().filter(|pid| now.contains(pid)).count(), pids.len() - 1, "{now:?}");
}

/// Takes until the inbox is empty and returns the number of messages.
async fn take_all(world: &World) -> usize {
    let mut taken = 0;
    loop {
        let take = world.http.post(world.list_url("/v1/users/fred/messages/take"));
        let page: Value = ApiResponse::send(take).await.expect_status(200);
        taken += page["items"].as_array().map_or(0, Vec::len);
        if page["has_more"] == false {
            return taken;
        }
    }
}

async fn used_memory(world: &World) -> u64 {
    let mut redis = world.redis().await;
    let info = redis::cmd("INFO").arg("memory").query_async(&mut redis).await;
    let info: redis::InfoDict = info.expect("Redis responds");
    info.get("used_memory").expect("`used_memory` is set")
}

async fn set_maxmemory(world: &World, bytes: u64) {
    let mut redis = world.redis().await;
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("maxmemory").arg(bytes);
    command.exec_async(&mut redis).await.expect("Redis responds");
}
