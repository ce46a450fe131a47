//! Whatever is killed, what was accepted is stored exactly once, and nothing is left behind.

use std::{collections::HashSet, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    LASTING, Load, PATIENCE, Setup, USERS, World, eventually, id_of, is_full, send_signal,
    short_or_full, user,
};
use nix::sys::signal::Signal;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout_at};

const KILL_EVERY: Duration = Duration::from_secs(2);
const MESSAGES_PER_SECOND: u32 = 2_000;

fn setup() -> Setup {
    let two = [Service::IngestApi, Service::PersistWorker, Service::ListApi];
    let setup = two.into_iter().fold(Setup::new(), |setup, service| setup.with(service, 2));
    if is_full() {
        return setup;
    }
    setup.set("MAYFLY_QUEUE__CLAIM_AFTER", "7s").set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_under_load_every_accepted_message_is_stored_exactly_once() {
    let world = setup().start().await;
    let until = Instant::now() + Duration::from_secs(short_or_full(8, 60));
    let load = Load::start(&world, MESSAGES_PER_SECOND);
    let (kills, taken) = tokio::join!(kill_two_at_a_time(&world, until), take_on(&world, until));
    let tally = load.stop().await;
    let began = Instant::now();
    let sum = world.settle(Duration::from_mins(1)).await;
    println!(
        "kills {kills}, accepted {}, refused {:?}, unanswered {}, taken {}, stored {}, settled {:?} later",
        tally.accepted.len(),
        tally.refused,
        tally.unanswered,
        taken.len(),
        sum.stored,
        began.elapsed()
    );

    let stored = world.stored_ids().await;
    let lost: Vec<_> = tally.accepted.iter().filter(|id| !stored.contains(*id)).collect();
    assert!(lost.is_empty(), "{} accepted messages are not stored: {lost:?}", lost.len());
    // The primary key lets none in twice; the ledger must have counted none twice either.
    assert_eq!(
        (sum.stored, sum.dead_lettered),
        (world.count("SELECT count(*) FROM messages").await, 0)
    );
    assert!(tally.accepted.len() > 1_000, "the load was no load: {tally:?}");
    assert_taken_once_and_expired(&world, taken).await;
    assert_nothing_is_left(&world).await;
    let (adds_up, words) = world.audit().await;
    assert!(adds_up, "{words}");
    println!("{words}");
}

/// Kills one process of each of two services, another two every time.
async fn kill_two_at_a_time(world: &World, until: Instant) -> usize {
    const SERVICES: [Service; 3] = [Service::IngestApi, Service::PersistWorker, Service::ListApi];
    let mut ticks = interval(KILL_EVERY);
    ticks.tick().await;
    let mut kills = 0;
    while timeout_at(until, ticks.tick()).await.is_ok() {
        let round = kills / 2;
        for service in [SERVICES[round % 3], SERVICES[(round + 1) % 3]] {
            let pids = world.stack.env().pids(service);
            // A process that was killed a moment ago may not be back yet.
            if let Some(pid) = pids.get(round / 3 % pids.len().max(1)) {
                send_signal(*pid, Signal::SIGKILL);
            }
        }
        kills += 2;
    }
    kills
}

/// Takes inboxes in turn, through both list-api; what comes back without an answer is nobody's.
async fn take_on(world: &World, until: Instant) -> Vec<Value> {
    let urls = world.urls(Service::ListApi);
    let mut taken = Vec::new();
    for turn in 0.. {
        let url =
            format!("{}/v1/users/{}/messages/take", urls[turn % urls.len()], user(turn % USERS));
        let answer = match timeout_at(until, world.http.post(url).send()).await {
            Ok(Ok(answer)) => answer.json::<Value>().await.unwrap_or_default(),
            Ok(Err(_)) => continue,
            Err(_) => break,
        };
        taken.extend(answer["items"].as_array().cloned().unwrap_or_default());
    }
    taken
}

async fn assert_taken_once_and_expired(world: &World, taken: Vec<Value>) {
    let ids: Vec<&str> = taken.iter().map(id_of).collect();
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

/// Nothing in Redis stays for ever that should not.
async fn assert_nothing_is_left(world: &World) {
    eventually(PATIENCE, "nothing is left in Redis", async || {
        let left = world.keys_without_ttl().await;
        if left.iter().all(|name| LASTING.contains(&name.as_str())) { Ok(()) } else { Err(left) }
    })
    .await;
}

/// The worker's death is played: what it had not come to do is undone, and its entry comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_take_left_goes_although_a_worker_died_between_commit_and_acknowledgement() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let message = json!({"text": "taken early", "username": "fred", "ttl": 600});
    let id = id_of(&world.post_message(&message).await).to_owned();
    let taken = world.take("fred").await;
    let mut redis = world.redis().await;
    let (stream, left) = (world.key("messages"), world.key("taken"));
    let mut all = redis::cmd("XRANGE");
    all.arg(&stream).arg("-").arg("+");
    let entries: Vec<(String, Vec<String>)> =
        all.query_async(&mut redis).await.expect("Redis answers");
    let [(first, accepted), (second, expired)] = &entries[..] else { panic!("{entries:?}") };
    let json: String = redis.hget(&left, &id).await.expect("a take leaves the message");
    let mut delete = redis::cmd("XDEL");
    delete.arg(&stream).arg(first).arg(second);
    delete.exec_async(&mut redis).await.expect("Redis answers");

    // Another worker has the take first, then this one the message.
    add(&mut redis, &stream, expired).await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    wait_for_count(&world, "SELECT count(*) FROM early_expiries", 1).await;
    add(&mut redis, &stream, accepted).await;
    wait_for_count(&world, "SELECT count(*) FROM messages", 1).await;
    assert_nothing_is_left(&world).await;

    let _: usize = redis.hset(&left, &id, json).await.expect("Redis answers");
    let _: usize = redis.hset(world.key("waiting"), &id, "0-1").await.expect("Redis answers");
    add(&mut redis, &stream, accepted).await;
    assert_nothing_is_left(&world).await;
    assert_eq!(world.get(&format!("/v1/messages/{id}")).await, (200, taken[0].clone()));
}

async fn wait_for_count(world: &World, query: &str, count: i64) {
    eventually(PATIENCE, query, async || {
        let seen = world.count(query).await;
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Adds an entry to the stream.
async fn add(redis: &mut MultiplexedConnection, stream: &str, fields: &[String]) {
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*").arg(fields);
    add.exec_async(redis).await.expect("Redis answers");
}
