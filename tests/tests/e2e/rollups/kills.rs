//! Workers killed at any moment, and everything delivered again.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, send_signal, short_or_full};
use nix::sys::signal::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::{SETTLE, counts::Counts, messages, post_batch};

const KILL_EVERY: Duration = Duration::from_millis(1_200);

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_counted_once_whatever_is_killed_or_delivered_again() {
    let kills = short_or_full(3, 20);
    // Small transactions, so that a kill falls into one of many.
    let world = Setup::new()
        .with(Service::PersistWorker, 2)
        .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
        .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s")
        .set("MAYFLY_PERSIST__BATCH_ROWS_MAX", "50")
        .start()
        .await;
    let counts = Counts::of(&world);
    let (killed, posted) = tokio::join!(kill(&world, kills), post_meanwhile(&world, kills));
    assert!(killed > kills / 2, "only {killed} of {kills} found a worker");
    let sum = world.settle(Duration::from_secs(60)).await;
    let before = counts.assert_true().await;
    assert_eq!(before.messages.total, posted);
    assert_eq!(sum.stored, i64::try_from(posted).expect("few"));

    deliver_again(&world).await;
    eventually(SETTLE, "everything is acknowledged", async || {
        let sum = world.sum().await;
        if sum.under_way == 0 { Ok(()) } else { Err(sum) }
    })
    .await;
    let after = counts.assert_true().await;
    assert_eq!(after.messages.total, before.messages.total);
    println!(
        "{killed} kills, {:?}, {} cities, {} users",
        after.messages, after.cities, after.users
    );
}

/// Kills the workers in turn; gives how many there were to kill.
async fn kill(world: &World, kills: u32) -> u32 {
    let mut ticks = interval(KILL_EVERY);
    ticks.tick().await;
    let mut killed = 0;
    for number in 0..kills {
        ticks.tick().await;
        let pids = world.stack.env().pids(Service::PersistWorker);
        // The other one may not be back yet.
        if let Some(pid) = pids.get(number as usize % pids.len().max(1)) {
            send_signal(*pid, Signal::SIGKILL);
            killed += 1;
        }
    }
    killed
}

/// Posts as long as there are kills: cities and users come up again and again, and new ones.
async fn post_meanwhile(world: &World, kills: u32) -> u64 {
    const POST_EVERY: Duration = Duration::from_millis(30);
    let rounds = (KILL_EVERY * (kills + 1)).as_millis() / POST_EVERY.as_millis();
    let mut ticks = interval(POST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut posted = 0;
    for round in 0..rounds {
        ticks.tick().await;
        post_batch(world, &messages(&format!("round {}", round % 40), 60, 7, 11)).await;
        posted += 60;
    }
    posted
}

/// Every entry of the stream once more, as if no worker had acknowledged it.
async fn deliver_again(world: &World) {
    let mut redis = world.redis().await;
    let stream = world.key("messages");
    let mut all = redis::cmd("XRANGE");
    all.arg(&stream).arg("-").arg("+");
    let entries: Vec<(String, Vec<String>)> =
        all.query_async(&mut redis).await.expect("Redis answers");
    assert!(!entries.is_empty(), "the stream keeps what can be resumed from");
    let mut pipe = redis::pipe();
    for (_, fields) in &entries {
        pipe.cmd("XADD").arg(&stream).arg("*").arg(fields);
    }
    pipe.exec_async(&mut redis).await.expect("Redis answers");
}
