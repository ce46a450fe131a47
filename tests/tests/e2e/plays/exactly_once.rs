//! Each play counts exactly once, whatever is killed, however often an entry is delivered.

use std::{sync::Arc, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    Counts, PATIENCE, Published, Setup, World, eventually, is_full, send_signal, short_or_full,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, interval},
};

use super::{ledger, plays_of, videos};

/// Plays of a request: some hundred requests are under way while processes are killed.
const REQUEST_PLAYS: usize = 100;

/// Few plays of a fifth of the videos, many of the others.
fn few_and_many(many: u64) -> Counts {
    let mut counts = videos("few", 20, 40);
    counts.extend(videos("many", 80, many));
    counts
}

/// Kills a worker and a publisher in turn, one each time, until told to stop; gives how many.
async fn kill_in_turn(world: &World, every: Duration, stop: Arc<Notify>) -> usize {
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
        // One that was killed a moment ago may not be back yet.
        if let Some(pid) = pids.get(kills / 2 % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
        }
        kills += 1;
    }
}

async fn count_under_kills(workers: usize, counts: &Counts) {
    let setup = Setup::new()
        .with(Service::PersistWorker, workers)
        .with(Service::StatsPublisher, 2)
        .with(Service::WsFanout, 1)
        .with_s3()
        .set("MAYFLY_PLAYS__INTERVAL", "2s")
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .set("MAYFLY_PERSIST__BATCH_ROWS_MAX", "10");
    let world = setup.start().await;
    let published = Published::record(&world, "").await;
    let plays = plays_of(counts);
    let stop = Arc::new(Notify::new());
    let began = Instant::now();
    let killing = kill_in_turn(&world, Duration::from_secs(1), Arc::clone(&stop));
    let posting = async {
        // So slow that much of it is killed in the middle.
        let mut ticks = interval(Duration::from_millis(10));
        for request in plays.chunks(REQUEST_PLAYS) {
            ticks.tick().await;
            world.post_plays(request).await;
        }
        tokio::time::sleep(Duration::from_secs(short_or_full(2, 5))).await;
        stop.notify_one();
    };
    let (kills, ()) = tokio::join!(killing, posting);
    world.until_counts_are(counts, Duration::from_secs(60)).await;
    published.until_last_are(counts, PATIENCE).await;
    published.assert_sound();
    let sum: u64 = counts.values().sum();
    assert_eq!(ledger(&world).await, [sum, sum, 0, 0]);
    println!("{workers} workers, {kills} kills: {sum} plays exact in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_every_count_is_exact_in_postgres_by_get_and_as_last_published() {
    if is_full() {
        for workers in [1, 2, 4, 8, 16] {
            count_under_kills(workers, &few_and_many(1_240)).await;
        }
    } else {
        count_under_kills(3, &few_and_many(200)).await;
    }
}

#[tokio::test]
async fn entries_that_are_delivered_again_do_not_count_again_and_show_their_videos() {
    let world = Setup::new().start().await;
    let counts = videos("again", 30, 7);
    world.post_plays(&plays_of(&counts)).await;
    world.post_plays(&vec![json!({"video_id": "again-0000", "play_id": "p"}); 3]).await;
    let mut counts = counts;
    counts.insert("again-0000".into(), 8);
    world.until_counts_are(&counts, PATIENCE).await;
    // As if workers had died after the commit, and Redis had lost what they had acknowledged and
    // shown.
    let mut redis = world.redis().await;
    let mut pipe = redis::pipe();
    pipe.del(world.key("plays:counts"));
    pipe.cmd("XGROUP").arg("SETID").arg(world.key("plays")).arg("count").arg("0");
    let _: ((), ()) = pipe.query_async(&mut redis).await.expect("Redis answers");
    world.until_counts_are(&counts, PATIENCE).await;
    world.play(&["again-0000"]).await;
    world.until_counted("again-0000", 9).await;
    let sum = world.count("SELECT sum(count)::bigint FROM play_counts").await;
    assert_eq!(u64::try_from(sum).ok(), Some(counts.values().sum::<u64>() + 1));
}

#[tokio::test]
async fn entries_that_come_again_long_after_they_were_acknowledged_do_not_count_again() {
    let world = Setup::new().start().await;
    let counts = videos("late", 30, 7);
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    eventually(PATIENCE, "all is forgotten", async || {
        match world.count("SELECT count(*) FROM counted_entries").await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    // A worker that slept since it read them, or a Redis that lost the acknowledgements.
    let mut redis = world.redis().await;
    let mut again = redis::cmd("XGROUP");
    again.arg("SETID").arg(world.key("plays")).arg("count").arg("0");
    again.exec_async(&mut redis).await.expect("Redis answers");
    world.play(&["after"]).await;
    world.until_counted("after", 1).await;
    let mut counts = counts;
    counts.insert("after".into(), 1);
    world.until_counts_are(&counts, PATIENCE).await;
    assert_eq!(ledger(&world).await, [211, 211, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remembers_counted_entries_holds_what_is_pending_and_no_more() {
    let world = Setup::new().with(Service::PersistWorker, 2).start().await;
    let requests: u64 = short_or_full(100, 1_000);
    let plays = vec![json!({"video_id": "million"}); 1_000];
    for _ in 0..requests {
        world.post_plays(&plays).await;
    }
    world.until_counted("million", requests * 1_000).await;
    let remembered = async || {
        world.count("SELECT coalesce(sum(cardinality(ids)), 0)::bigint FROM counted_entries").await
    };
    eventually(PATIENCE, "all is forgotten", async || match remembered().await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    // An entry that somebody has and does not acknowledge: all behind it is kept, too.
    world.stack.stop(Service::PersistWorker).await.expect("they stop");
    world.play(&["pending"]).await;
    let mut redis = world.redis().await;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("count").arg("nobody").arg("STREAMS").arg(world.key("plays")).arg(">");
    read.exec_async(&mut redis).await.expect("Redis answers");
    world.stack.start(Service::PersistWorker).await.expect("they start");
    for number in 1..=20 {
        world.play(&["behind"]).await;
        world.until_counted("behind", number).await;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(remembered().await, 20);
}
