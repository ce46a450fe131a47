//! What the ledger says after Redis lost data.

use mayfly_stack::{Part, Paths, Service};
use mayfly_tests::{Frozen, PATIENCE, Setup, World, copy_dir, eventually, short_or_full};
use serde_json::{Value, json};

/// How much is accepted before the copy, and after it.
fn batches() -> usize {
    short_or_full(2, 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_came_back_older_begins_a_new_epoch_and_doubles_nothing() {
    let world = Setup::new().own_servers().start().await;
    let data = Paths::new(&world.spec.root).home().join("redis");
    post_batches(&world, batches()).await;
    let before = world.settle(PATIENCE).await;

    world.stack.stop(Part::Redis).await.expect("Redis stops");
    let copy = world.spec.root.join("redis-copy");
    copy_dir(&data, &copy);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    post_batches(&world, batches()).await;
    let known = world.settle(PATIENCE).await;
    assert_eq!(known.epoch, before.epoch, "a Redis that kept everything goes on in its epoch");
    wait_until_observed(&world, known.accepted).await;

    world.stack.stop(Part::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data can be removed");
    copy_dir(&copy, &data);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    let new = wait_for_new_epoch(&world, &before.epoch).await;
    post_batches(&world, 1).await;
    let after = world.settle(PATIENCE).await;
    println!("{known:?}, then {after:?}");

    assert_eq!((after.epoch, after.accepted, after.stored), (new, 100, 100));
    let stored = world.count("SELECT count(*) FROM messages").await;
    assert_eq!(stored, known.stored + 100, "what came back with the older file is stored once");
    let (adds_up, words) = world.audit().await;
    assert!(adds_up && words.contains("lost: 0"), "{words}");
}

/// A worker is behind, and as many are accepted after the loss as were lost, before anybody looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_seen_and_counted_although_as_much_was_accepted_since() {
    let slow = Setup::new().own_servers().set("MAYFLY_PERSIST__ROWS_PER_SECOND_MAX", "100");
    let world = slow.start().await;
    let data = Paths::new(&world.spec.root).home().join("redis");
    post_batches(&world, 2).await;
    let before = world.settle(PATIENCE).await;
    world.stack.stop(Part::Redis).await.expect("Redis stops");
    let copy = world.spec.root.join("redis-copy");
    copy_dir(&data, &copy);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    post_batches(&world, 5).await;
    wait_until_observed(&world, 700).await;

    let frozen = Frozen::processes(world.stack.env().pids(Service::PersistWorker));
    world.stack.stop(Part::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data can be removed");
    copy_dir(&copy, &data);
    world.stack.start(Part::Redis).await.expect("Redis starts");
    post_batches(&world, 5).await;
    drop(frozen);
    wait_for_new_epoch(&world, &before.epoch).await;
    eventually(PATIENCE, "the ended epoch is stored", async || {
        let (adds_up, words) = world.audit().await;
        let stored = world.count("SELECT count(*) FROM messages").await;
        let lost = 1_200 - stored;
        let line = format!("accepted 1200, stored {stored}, dead-lettered 0, lost: {lost}");
        if adds_up && lost > 0 && words.contains(&line) { Ok(()) } else { Err((stored, words)) }
    })
    .await;
}

/// Posts batches of 100.
async fn post_batches(world: &World, count: usize) {
    for batch in 0..count {
        let items: Vec<Value> =
            (0..100).map(|item| json!({"text": format!("{batch} {item}"), "ttl": 600})).collect();
        let answer = eventually(PATIENCE, "a batch is accepted", async || {
            let answer = world.post("/v1/messages/batch", &items.clone().into()).await;
            if answer.status() == 202 { Ok(answer) } else { Err(answer.status()) }
        })
        .await;
        assert_eq!(answer.json::<Value>().await.expect("it is JSON")["accepted"], 100);
    }
}

/// Waits until a worker has written down how many were accepted.
async fn wait_until_observed(world: &World, accepted: i64) {
    eventually(PATIENCE, "the ledger knows what was accepted", async || {
        let observed = world.count("SELECT max(accepted) FROM ledger").await;
        if observed == accepted { Ok(()) } else { Err(observed) }
    })
    .await;
}

async fn wait_for_new_epoch(world: &World, old: &str) -> String {
    eventually(PATIENCE, "the old epoch is ended", async || {
        let rows = world.postgres().await;
        let rows = rows
            .query(
                "SELECT epoch, ended_at IS NOT NULL FROM ledger WHERE kind = 'messages' \
                 ORDER BY started_at",
                &[],
            )
            .await
            .expect("the query works");
        let rows: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        match rows.as_slice() {
            [(first, true), (second, false)] if first == old => Ok(second.clone()),
            _ => Err(rows),
        }
    })
    .await
}
