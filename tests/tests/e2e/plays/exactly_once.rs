//! Each play counts exactly once despite kills and redeliveries.

use std::{sync::Arc, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    Counts, DEFAULT_TIMEOUT, PlaysRecorder, Setup, World, eventually, is_full, send_signal,
    short_or_full,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, interval},
};

use super::{ledger, plays_of, videos};

/// Plays per request; hundreds of requests are in flight while processes are killed.
const PLAYS_PER_REQUEST: usize = 100;

/// Returns few plays of a fifth of the videos and many of the others.
fn few_and_many(many: u64) -> Counts {
    let mut counts = videos("few", 20, 40);
    counts.extend(videos("many", 80, many));
    counts
}

/// Alternately kills a worker and a publisher until stopped. Returns the number of kills.
async fn kill_alternately(world: &World, every: Duration, stop: Arc<Notify>) -> usize {
    let mut ticks = interval(every);
    ticks.tick().await;
    let mut kills = 0;
    loop {
        tokio::select! {
            () = stop.notified() => return kills,
            _ = ticks.tick() => {}
        }
        let service = [Service::PersistWorker, Service::StatsPublisher][kills % 2];
        let pids = world.stack.env().pids(service);
        // A process that was killed earlier may not have restarted yet.
        if let Some(pid) = pids.get(kills / 2 % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
        }
        kills += 1;
    }
}

async fn count_under_kills(workers: usize, counts: &Counts) {
    let setup = Setup::new()
        .scale(Service::PersistWorker, workers)
        .scale(Service::StatsPublisher, 2)
        .scale(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", "2s")
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .set("MAYFLY_PERSIST__BATCH_ROWS_MAX", "10");
    let world = setup.start().await;
    let published = PlaysRecorder::record(&world, "").await;
    let plays = plays_of(counts);
    let stop = Arc::new(Notify::new());
    let started = Instant::now();
    let killing = kill_alternately(&world, Duration::from_secs(1), Arc::clone(&stop));
    let posting = async {
        // The posts take long enough that kills interrupt many requests.
        let mut ticks = interval(Duration::from_millis(10));
        for request in plays.chunks(PLAYS_PER_REQUEST) {
            ticks.tick().await;
            world.post_plays(request).await;
        }
        tokio::time::sleep(Duration::from_secs(short_or_full(2, 5))).await;
        stop.notify_one();
    };
    let (kills, ()) = tokio::join!(killing, posting);
    world.wait_for_counts(counts, Duration::from_secs(60)).await;
    published.wait_for_last(counts, DEFAULT_TIMEOUT).await;
    published.assert_valid();
    let sum: u64 = counts.values().sum();
    assert_eq!(ledger(&world).await, [sum, sum, 0, 0]);
    println!("{workers} workers, {kills} kills: {sum} plays exact in {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_everywhere_while_processes_are_killed() {
    if is_full() {
        for workers in [1, 2, 4, 8, 16] {
            count_under_kills(workers, &few_and_many(1_240)).await;
        }
    } else {
        count_under_kills(3, &few_and_many(200)).await;
    }
}

/// Keeps all entries in the stream: no worker is the leader that trims. The workers are restarted,
/// because a leader that has begun to trim does not notice that it is replaced.
async fn prevent_trimming(world: &World) {
    world.stack.stop(Service::PersistWorker).await.expect("the workers stop");
    let mut command = redis::cmd("SET");
    command.arg(world.key("lease:maintenance")).arg("1:test");
    command.exec_async(&mut world.redis().await).await.expect("Redis responds");
    world.stack.start(Service::PersistWorker).await.expect("the workers start");
}

#[tokio::test]
async fn redelivered_entries_do_not_count_again() {
    let world = Setup::new().start().await;
    prevent_trimming(&world).await;
    let counts = videos("again", 30, 7);
    world.post_plays(&plays_of(&counts)).await;
    world.post_plays(&vec![json!({"video_id": "again-0000", "play_id": "p"}); 3]).await;
    let mut counts = counts;
    counts.insert("again-0000".into(), 8);
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    // Simulates workers that crashed after the commit and a Redis that lost acknowledgments and
    // counts.
    let mut redis = world.redis().await;
    let mut pipe = redis::pipe();
    pipe.del(world.key("plays:counts"));
    pipe.cmd("XGROUP").arg("SETID").arg(world.key("plays")).arg("count").arg("0");
    let _: ((), ()) = pipe.query_async(&mut redis).await.expect("Redis responds");
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    world.play(&["again-0000"]).await;
    world.wait_for_count("again-0000", 9).await;
    let sum = world.query_count("SELECT sum(count)::bigint FROM play_counts").await;
    assert_eq!(u64::try_from(sum).ok(), Some(counts.values().sum::<u64>() + 1));
}

#[tokio::test]
async fn entries_redelivered_long_after_acknowledgment_do_not_count_again() {
    let world = Setup::new().start().await;
    prevent_trimming(&world).await;
    let counts = videos("late", 30, 7);
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    eventually(DEFAULT_TIMEOUT, "the records of counted entries are pruned", async || match world
        .query_count("SELECT count(*) FROM counted_entries")
        .await
    {
        0 => Ok(()),
        remaining => Err(remaining),
    })
    .await;
    // Simulates a worker that was suspended after reading, or a Redis that lost acknowledgments.
    let mut redis = world.redis().await;
    let mut set_id = redis::cmd("XGROUP");
    set_id.arg("SETID").arg(world.key("plays")).arg("count").arg("0");
    set_id.exec_async(&mut redis).await.expect("Redis responds");
    world.play(&["after"]).await;
    world.wait_for_count("after", 1).await;
    let mut counts = counts;
    counts.insert("after".into(), 1);
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    assert_eq!(ledger(&world).await, [211, 211, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_counted_entries_are_limited_to_pending_entries() {
    let world = Setup::new().scale(Service::PersistWorker, 2).start().await;
    let requests: u64 = short_or_full(100, 1_000);
    let plays = vec![json!({"video_id": "million"}); 1_000];
    for _ in 0..requests {
        world.post_plays(&plays).await;
    }
    world.wait_for_count("million", requests * 1_000).await;
    let count_records = async || {
        world
            .query_count("SELECT coalesce(sum(cardinality(ids)), 0)::bigint FROM counted_entries")
            .await
    };
    eventually(DEFAULT_TIMEOUT, "the records of counted entries are pruned", async || {
        match count_records().await {
            0 => Ok(()),
            remaining => Err(remaining),
        }
    })
    .await;
    // The records after an unacknowledged entry are not pruned.
    world.stack.stop(Service::PersistWorker).await.expect("the workers stop");
    world.play(&["pending"]).await;
    let mut redis = world.redis().await;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("count").arg("nobody").arg("STREAMS").arg(world.key("plays")).arg(">");
    read.exec_async(&mut redis).await.expect("Redis responds");
    world.stack.start(Service::PersistWorker).await.expect("the workers start");
    for number in 1..=20 {
        world.play(&["behind"]).await;
        world.wait_for_count("behind", number).await;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(count_records().await, 20);
}
