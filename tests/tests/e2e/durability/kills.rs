//! Accepted messages are stored exactly once while processes are killed.

use std::{collections::HashSet, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Load, PERSISTENT_KEYS, Setup, USERS, World, eventually, is_full, message_id,
    send_signal, short_or_full, user,
};
use nix::sys::signal::Signal;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout_at};

const KILL_INTERVAL: Duration = Duration::from_secs(2);
const MESSAGES_PER_SECOND: u32 = 2_000;

fn setup() -> Setup {
    let two = [Service::IngestApi, Service::PersistWorker, Service::ListApi];
    let setup = two.into_iter().fold(Setup::new(), |setup, service| setup.scale(service, 2));
    if is_full() {
        return setup;
    }
    setup.set("MAYFLY_QUEUE__CLAIM_AFTER", "7s").set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_messages_are_stored_exactly_once_while_processes_are_killed() {
    let world = setup().start().await;
    let until = Instant::now() + Duration::from_secs(short_or_full(8, 60));
    let load = Load::start(&world, MESSAGES_PER_SECOND);
    let (kills, taken) = tokio::join!(kill_pairs(&world, until), take_continuously(&world, until));
    let report = load.stop().await;
    let stopped_at = Instant::now();
    let sums = world.wait_until_processed(Duration::from_mins(1)).await;
    println!(
        "kills {kills}, accepted {}, rejected {:?}, unanswered {}, taken {}, stored {}, processed {:?} later",
        report.accepted.len(),
        report.rejected,
        report.unanswered,
        taken.len(),
        sums.stored,
        stopped_at.elapsed()
    );

    let stored = world.stored_ids().await;
    let lost: Vec<_> = report.accepted.iter().filter(|id| !stored.contains(*id)).collect();
    assert!(lost.is_empty(), "{} accepted messages are not stored: {lost:?}", lost.len());
    // The primary key prevents duplicate rows; this checks that the ledger has no duplicates
    // either.
    assert_eq!(
        (sums.stored, sums.dead_lettered),
        (world.query_count("SELECT count(*) FROM messages").await, 0)
    );
    // The load only has to be present at every kill; how much is accepted depends on the machine.
    let expected = short_or_full(250, 1_000);
    assert!(report.accepted.len() > expected, "too little load: {}", report.accepted.len());
    assert_taken_once_and_expired(&world, taken).await;
    assert_only_persistent_keys_remain(&world).await;
    let (passed, output) = world.audit().await;
    assert!(passed, "{output}");
    println!("{output}");
}

/// Kills one process of each of two services at an interval, rotating over services and instances.
async fn kill_pairs(world: &World, until: Instant) -> usize {
    const SERVICES: [Service; 3] = [Service::IngestApi, Service::PersistWorker, Service::ListApi];
    let mut ticks = interval(KILL_INTERVAL);
    ticks.tick().await;
    let mut kills = 0;
    while timeout_at(until, ticks.tick()).await.is_ok() {
        let round = kills / 2;
        for service in [SERVICES[round % 3], SERVICES[(round + 1) % 3]] {
            let pids = world.stack.env().pids(service);
            // A process that was killed earlier may not have restarted yet.
            if let Some(pid) = pids.get(round / 3 % pids.len().max(1)) {
                send_signal(*pid, Signal::SIGKILL);
            }
        }
        kills += 2;
    }
    kills
}

/// Takes inboxes in turn through both `list-api`. A take without a response is ignored.
async fn take_continuously(world: &World, until: Instant) -> Vec<Value> {
    let urls = world.urls(Service::ListApi);
    let mut taken = Vec::new();
    for index in 0.. {
        let url =
            format!("{}/v1/users/{}/messages/take", urls[index % urls.len()], user(index % USERS));
        let response = match timeout_at(until, world.http.post(url).send()).await {
            Ok(Ok(response)) => response.json::<Value>().await.unwrap_or_default(),
            Ok(Err(_)) => continue,
            Err(_) => break,
        };
        taken.extend(response["items"].as_array().cloned().unwrap_or_default());
    }
    taken
}

async fn assert_taken_once_and_expired(world: &World, taken: Vec<Value>) {
    let ids: Vec<&str> = taken.iter().map(message_id).collect();
    let distinct: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len(), "a message was taken twice");
    assert!(!ids.is_empty(), "nothing was taken");
    let expired = world.postgres().await;
    let expired = expired
        .query_one(
            "SELECT count(*) FROM messages \
             WHERE id::text = ANY ($1) AND expires_at < created_at + interval '600 s'",
            &[&ids],
        )
        .await
        .expect("the query works");
    let expired: i64 = expired.get(0);
    assert_eq!(
        usize::try_from(expired).ok(),
        Some(ids.len()),
        "a taken message is live in Postgres"
    );
}

/// Waits until only the expected keys have no TTL.
async fn assert_only_persistent_keys_remain(world: &World) {
    eventually(DEFAULT_TIMEOUT, "only persistent keys remain", async || {
        let keys = world.keys_without_ttl().await;
        if keys.iter().all(|name| PERSISTENT_KEYS.contains(&name.as_str())) {
            Ok(())
        } else {
            Err(keys)
        }
    })
    .await;
}

/// Simulates a worker crash between commit and acknowledgment: undoes the steps after the commit
/// and delivers the entry again.
#[tokio::test(flavor = "multi_thread")]
async fn crash_between_commit_and_acknowledgment_leaves_no_key_of_a_take() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let message = json!({"text": "taken early", "username": "fred", "ttl": 600});
    let id = message_id(&world.post_message(&message).await).to_owned();
    let taken = world.take("fred").await;
    let mut redis = world.redis().await;
    let (stream, taken_key) = (world.key("messages"), world.key("taken"));
    let mut all = redis::cmd("XRANGE");
    all.arg(&stream).arg("-").arg("+");
    let entries: Vec<(String, Vec<String>)> =
        all.query_async(&mut redis).await.expect("Redis responds");
    let [(first, accepted), (second, expired)] = &entries[..] else { panic!("{entries:?}") };
    let json: String = redis.hget(&taken_key, &id).await.expect("a take stores the message");
    let mut delete = redis::cmd("XDEL");
    delete.arg(&stream).arg(first).arg(second);
    delete.exec_async(&mut redis).await.expect("Redis responds");

    // The take is processed before the message.
    add_entry(&mut redis, &stream, expired).await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    wait_for_count(&world, "SELECT count(*) FROM early_expiries", 1).await;
    add_entry(&mut redis, &stream, accepted).await;
    wait_for_count(&world, "SELECT count(*) FROM messages", 1).await;
    assert_only_persistent_keys_remain(&world).await;

    let _: usize = redis.hset(&taken_key, &id, json).await.expect("Redis responds");
    let _: usize = redis.hset(world.key("waiting"), &id, "0-1").await.expect("Redis responds");
    add_entry(&mut redis, &stream, accepted).await;
    assert_only_persistent_keys_remain(&world).await;
    assert_eq!(world.get(&format!("/v1/messages/{id}")).await, (200, taken[0].clone()));
}

async fn wait_for_count(world: &World, query: &str, count: i64) {
    eventually(DEFAULT_TIMEOUT, query, async || {
        let actual = world.query_count(query).await;
        if actual == count { Ok(()) } else { Err(actual) }
    })
    .await;
}

/// Adds a stream entry.
async fn add_entry(redis: &mut MultiplexedConnection, stream: &str, fields: &[String]) {
    let mut add_entry = redis::cmd("XADD");
    add_entry.arg(stream).arg("*").arg(fields);
    add_entry.exec_async(redis).await.expect("Redis responds");
}
