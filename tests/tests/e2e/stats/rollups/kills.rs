//! Rollups while workers are killed and after all entries are redelivered.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, send_signal, short_or_full};
use nix::sys::signal::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::{PROCESS_TIMEOUT, counts::Counts, messages, post_batch};

const KILL_INTERVAL: Duration = Duration::from_millis(1_200);

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_counted_once_despite_kills_and_redeliveries() {
    let kills = short_or_full(3, 20);
    // Small transactions, so that kills interrupt some of them.
    let world = Setup::new()
        .scale(Service::PersistWorker, 2)
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .set("MAYFLY_PERSIST__BATCH_ROWS_MAX", "50")
        .start()
        .await;
    let counts = Counts::new(&world);
    let (killed, posted) = tokio::join!(kill(&world, kills), post_during_kills(&world, kills));
    assert!(killed > kills / 2, "only {killed} of {kills} found a worker");
    let sums = world.wait_until_processed(Duration::from_secs(60)).await;
    let before = counts.assert_consistent().await;
    assert_eq!(before.messages.total, posted);
    assert_eq!(sums.stored, i64::try_from(posted).expect("fits in the integer type"));

    redeliver_all(&world).await;
    eventually(PROCESS_TIMEOUT, "everything is acknowledged", async || {
        let sums = world.ledger_sums().await;
        if sums.in_flight == 0 { Ok(()) } else { Err(sums) }
    })
    .await;
    let after = counts.assert_consistent().await;
    assert_eq!(after.messages.total, before.messages.total);
    println!(
        "{killed} kills, {:?}, {} cities, {} users",
        after.messages, after.cities, after.users
    );
}

/// Kills the workers in turn and returns the number of killed processes.
async fn kill(world: &World, kills: u32) -> u32 {
    let mut ticks = interval(KILL_INTERVAL);
    ticks.tick().await;
    let mut killed = 0;
    for number in 0..kills {
        ticks.tick().await;
        let pids = world.stack.env().pids(Service::PersistWorker);
        // A killed worker may not be restarted yet.
        if let Some(pid) = pids.get(number as usize % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
            killed += 1;
        }
    }
    killed
}

/// Posts messages of recurring and new cities and users during the kills.
async fn post_during_kills(world: &World, kills: u32) -> u64 {
    const POST_INTERVAL: Duration = Duration::from_millis(30);
    let rounds = (KILL_INTERVAL * (kills + 1)).as_millis() / POST_INTERVAL.as_millis();
    let mut ticks = interval(POST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut posted = 0;
    for round in 0..rounds {
        ticks.tick().await;
        post_batch(world, &messages(&format!("round {}", round % 40), 60, 7, 11)).await;
        posted += 60;
    }
    posted
}

/// Adds every stream entry again, as if it had not been acknowledged.
async fn redeliver_all(world: &World) {
    let mut redis = world.redis().await;
    let stream = world.key("messages");
    let mut all = redis::cmd("XRANGE");
    all.arg(&stream).arg("-").arg("+");
    let entries: Vec<(String, Vec<String>)> =
        all.query_async(&mut redis).await.expect("Redis responds");
    assert!(!entries.is_empty(), "the stream keeps the resume window");
    let mut pipe = redis::pipe();
    for (_, fields) in &entries {
        pipe.cmd("XADD").arg(&stream).arg("*").arg(fields);
    }
    pipe.exec_async(&mut redis).await.expect("Redis responds");
}
