//! The ledger after Redis lost data.

use mayfly_stack::{Paths, ProcessKind, Service};
use mayfly_tests::{
    DEFAULT_TIMEOUT, Frozen, Load, Setup, World, copy_dir, eventually, short_or_full,
};
use serde_json::{Value, json};

/// The number of batches before and after the copy.
fn batches() -> usize {
    short_or_full(2, 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_restored_from_a_copy_starts_a_new_epoch_without_duplicates() {
    let world = Setup::new().dedicated_servers().start().await;
    let data = Paths::new(&world.spec.root).data_dir().join("redis");
    post_batches(&world, batches()).await;
    let before = world.wait_until_processed(DEFAULT_TIMEOUT).await;

    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    let copy = world.spec.root.join("redis-copy");
    copy_dir(&data, &copy);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    post_batches(&world, batches()).await;
    let known = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    assert_eq!(known.epoch, before.epoch, "a restart without data loss keeps the epoch");
    wait_until_observed(&world, known.accepted).await;

    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data is removed");
    copy_dir(&copy, &data);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    let new = wait_for_new_epoch(&world, &before.epoch).await;
    post_batches(&world, 1).await;
    let after = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    println!("{known:?}, then {after:?}");

    assert_eq!((after.epoch, after.accepted, after.stored), (new, 100, 100));
    let stored = world.query_count("SELECT count(*) FROM messages").await;
    assert_eq!(stored, known.stored + 100, "restored entries are stored once");
    let (passed, output) = world.audit().await;
    assert!(passed && output.contains("lost: 0"), "{output}");
}

/// The workers are slow. When they observe Redis again, as many messages have been accepted as were
/// lost.
#[tokio::test(flavor = "multi_thread")]
async fn loss_is_detected_even_if_as_many_messages_were_accepted_since() {
    let slow = Setup::new().dedicated_servers().set("MAYFLY_PERSIST__ROWS_PER_SECOND_MAX", "100");
    let world = slow.start().await;
    let data = Paths::new(&world.spec.root).data_dir().join("redis");
    post_batches(&world, 2).await;
    let before = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    let copy = world.spec.root.join("redis-copy");
    copy_dir(&data, &copy);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    post_batches(&world, 5).await;
    wait_until_observed(&world, 700).await;

    let frozen = Frozen::freeze(world.stack.env().pids(Service::PersistWorker));
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    std::fs::remove_dir_all(&data).expect("the data is removed");
    copy_dir(&copy, &data);
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    post_batches(&world, 5).await;
    drop(frozen);
    wait_for_new_epoch(&world, &before.epoch).await;
    eventually(DEFAULT_TIMEOUT, "the ledger counts the loss of the ended epoch", async || {
        let (passed, output) = world.audit().await;
        let stored = world.query_count("SELECT count(*) FROM messages").await;
        let lost = 1_200 - stored;
        let line = format!("accepted 1200, stored {stored}, dead-lettered 0, lost: {lost}");
        if passed && lost > 0 && output.contains(&line) { Ok(()) } else { Err((stored, output)) }
    })
    .await;
}

/// No worker has observed the last messages. Only ingest-api has counted them.
#[tokio::test(flavor = "multi_thread")]
async fn loss_of_messages_that_no_worker_has_seen_is_exact() {
    let world = Setup::new().dedicated_servers().start().await;
    post_batches(&world, 1).await;
    let before = world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let (passed, output) = world.audit_with(&["--all"]).await;
    assert!(passed && !output.contains("lost"), "{output}");
    let frozen = Frozen::freeze(world.stack.env().pids(Service::PersistWorker));
    post_batches(&world, 5).await;
    let mut redis = world.redis().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
    drop(frozen);
    wait_for_new_epoch(&world, &before.epoch).await;
    // The loss is unknown until ingest-api has reported to the ledger.
    let lost = eventually(DEFAULT_TIMEOUT, "the loss of the ended epoch is exact", async || {
        let (passed, output) = world.audit_with(&["--all"]).await;
        let stored = world.query_count("SELECT count(*) FROM messages").await;
        let lost = 600 - stored;
        let line = format!("accepted 600, stored {stored}, dead-lettered 0, lost: {lost}");
        if !passed && lost > 0 && output.contains(&line) { Ok(lost) } else { Err((stored, output)) }
    })
    .await;
    assert!(world.audit().await.0, "the current epoch is balanced");
    eventually(DEFAULT_TIMEOUT, "the loss is a metric", async || {
        let (_, metrics) = world.admin(Service::PersistWorker, "/metrics").await;
        let is_loss =
            |line: &&str| line.starts_with("mayfly_lost_items") && line.contains("messages");
        let lines: Vec<_> = metrics.lines().filter(is_loss).map(str::to_owned).collect();
        let count = format!(" {lost}");
        let has_loss = lines.len() == 2 && lines.iter().all(|line| line.ends_with(&count));
        if has_loss { Ok(()) } else { Err(lines) }
    })
    .await;
}

/// The audit reads a Redis without the ledger, for example with a wrong prefix.
#[tokio::test(flavor = "multi_thread")]
async fn audit_fails_without_a_ledger_in_redis_except_in_a_new_installation() {
    let world = Setup::new().start().await;
    world.post_message(&json!({"text": "accepted"})).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    let mut other = world.clone();
    other.prefix = format!("{}-other", world.prefix);
    let (passed, output) = other.audit_within("0s", &[]).await;
    let expected = format!("Redis holds no ledger under the prefix {}, but", other.prefix);
    assert!(!passed && output.contains(&expected), "{output}");

    let new = Setup::new().scale(Service::PersistWorker, 0).start().await;
    let (passed, output) = new.audit().await;
    assert!(passed, "{output}");
}

/// Messages arrive and are stored while the audit reads the ledger, as in a busy system.
#[tokio::test(flavor = "multi_thread")]
async fn audit_passes_while_messages_arrive() {
    let world = Setup::new().scale(Service::ListApi, 0).start().await;
    let load = Load::start(&world, 300);
    eventually(DEFAULT_TIMEOUT, "messages are stored", async || {
        let stored = world.query_count("SELECT count(*) FROM messages").await;
        if stored > 100 { Ok(()) } else { Err(stored) }
    })
    .await;
    let mut outputs = Vec::new();
    for _ in 0..short_or_full(5, 50) {
        outputs.push(world.audit_within("0s", &[]).await);
    }
    load.stop().await;
    assert!(outputs.iter().all(|(passed, _)| *passed), "{outputs:?}");
    let (passed, output) = world.audit().await;
    assert!(passed && output.ends_with("balanced\n"), "{output}");
}

/// Posts batches of 100.
async fn post_batches(world: &World, count: usize) {
    for batch in 0..count {
        let items: Vec<Value> =
            (0..100).map(|item| json!({"text": format!("{batch} {item}"), "ttl": 600})).collect();
        let response = eventually(DEFAULT_TIMEOUT, "a batch is accepted", async || {
            let response = world.post("/v1/messages/batch", &items.clone().into()).await;
            if response.status() == 202 { Ok(response) } else { Err(response.status()) }
        })
        .await;
        assert_eq!(response.json::<Value>().await.expect("valid JSON")["accepted"], 100);
    }
}

/// Waits until a worker has recorded the number of accepted messages.
async fn wait_until_observed(world: &World, accepted: i64) {
    eventually(DEFAULT_TIMEOUT, "the ledger has the accepted messages", async || {
        let observed = world.query_count("SELECT max(accepted) FROM ledger").await;
        if observed == accepted { Ok(()) } else { Err(observed) }
    })
    .await;
}

async fn wait_for_new_epoch(world: &World, old: &str) -> String {
    eventually(DEFAULT_TIMEOUT, "the old epoch is ended", async || {
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
