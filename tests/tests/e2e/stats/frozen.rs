//! A publisher that stands still while another goes on: what it does late changes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{Frozen, OwnProcess, PATIENCE, World, beside_others, eventually, short_or_full};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    publishers::find_leader,
    put_gate::{PutGate, Puts},
    read_announced, read_object, setup, start_own, time_of, wait_for_newer,
};

const INTERVAL: Duration = Duration::from_secs(2);
/// How long a lease lasts where an interval is long.
const LEASE_MAX: Duration = Duration::from_secs(10);

/// Sees whether the object or the announcement ever goes back, until it is done; gives how many
/// different objects there were.
async fn watch(world: World, done: Arc<AtomicBool>) -> usize {
    let (mut object, mut announced): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    let mut objects = 0;
    while !done.load(Ordering::Relaxed) {
        let now = time_of(&read_announced(&world).await);
        assert!(now >= announced, "the announcement went back from {announced:?} to {now:?}");
        announced = now;
        let now = time_of(&read_object(&world));
        assert!(now >= object, "the object went back from {object:?} to {now:?}");
        assert!(now >= announced, "S3 has {now:?}, and {announced:?} is announced");
        objects += usize::from(now > object);
        object = now;
        sleep(Duration::from_millis(2)).await;
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frozen_over_two_intervals_neither_s3_nor_redis_go_back_when_it_goes_on() {
    let world = setup(2, "2s").start().await;
    let done = Arc::<AtomicBool>::default();
    let watching = tokio::spawn(watch(world.clone(), done.clone()));
    for round in 0..short_or_full(2, 20) {
        let leader = find_leader(&world).await;
        // At another moment of the interval each time.
        sleep(Duration::from_millis(round * 370 % 2_000)).await;
        let pid = world.stack.env().pids(Service::StatsPublisher)[leader];
        let frozen = Frozen::processes([pid]);
        let before = read_object(&world);
        sleep(INTERVAL * 2).await;
        wait_for_newer(&world, &before, PATIENCE).await;
        drop(frozen);
    }
    sleep(INTERVAL).await;
    done.store(true, Ordering::Relaxed);
    let objects = watching.await.expect("nothing goes back");
    assert!(objects >= 4, "only {objects} snapshots");
}

/// A publisher whose put is held on its way to S3, which has nothing yet; nothing else is due within
/// the hour.
async fn start_held() -> (World, PutGate, OwnProcess) {
    let world = setup(0, "1h").start().await;
    let gate = PutGate::open(&world, Puts::Hold).await;
    let endpoint = gate.endpoint();
    let settings = [("AWS_ENDPOINT_URL", endpoint.as_str())];
    let late = start_own(&world, Service::StatsPublisher, &settings).await;
    eventually(PATIENCE, "it puts", async || if gate.seen() > 0 { Ok(()) } else { Err(()) }).await;
    (world, gate, late)
}

/// Waits until the object is the announced snapshot.
async fn wait_for_announced_object(world: &World, within: Duration) -> Value {
    eventually(within, "S3 has what is announced", async || {
        let (announced, object) = (read_announced(world).await, read_object(world));
        let is_same = !object.is_null() && object == announced;
        if is_same { Ok(object) } else { Err((announced, object)) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_lands_after_another_publishers_is_put_right() {
    let (world, gate, _late) = start_held().await;
    let _spare = start_own(&world, Service::StatsPublisher, &[]).await;
    let newer = wait_for_announced_object(&world, beside_others(LEASE_MAX * 2)).await;
    gate.set(Puts::Pass);
    eventually(PATIENCE, "S3 goes back", async || {
        let object = read_object(&world);
        if time_of(&object) < time_of(&newer) { Ok(()) } else { Err(object) }
    })
    .await;
    let object = wait_for_announced_object(&world, beside_others(LEASE_MAX * 2)).await;
    assert_eq!(object, newer, "nothing else was due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_drains_while_it_puts_lets_its_lease_run_out() {
    let (world, _gate, late) = start_held().await;
    let (status, took, _) = late.leave(Duration::from_secs(10)).await;
    assert!(status.success(), "{status} after {took:?}");
    let lease = world.key("lease:stats");
    let left: i64 = world.redis().await.pttl(&lease).await.expect("Redis answers");
    assert!(left > 0, "S3 may still do its put, and another one could lead: {left}");
}
