//! A publisher that stands still while another goes on: what it does late changes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_core::Timestamp;
use mayfly_stack::{Part, Service};
use mayfly_tests::{Frozen, World, eventually, short_or_full};
use tokio::time::sleep;

use super::{publishers::find_leader, read_announced, read_object, setup, time_of, wait_for_newer};

const INTERVAL: Duration = Duration::from_secs(2);

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
        wait_for_newer(&world, &before, INTERVAL).await;
        drop(frozen);
    }
    sleep(INTERVAL).await;
    done.store(true, Ordering::Relaxed);
    let objects = watching.await.expect("nothing goes back");
    assert!(objects >= 4, "only {objects} snapshots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frozen_while_s3_has_its_put_follows_what_was_announced_since() {
    let world = setup(2, "2s").start().await;
    let leader = find_leader(&world).await;
    let pid = world.stack.env().pids(Service::StatsPublisher)[leader];
    let before = read_object(&world);
    // S3 stands still over the beginning of an interval: the leader has asked and waits.
    let s3 = Frozen::processes(world.stack.env().pids(Part::S3));
    sleep(INTERVAL).await;
    let frozen = Frozen::processes([pid]);
    drop(s3);
    let spare = wait_for_newer(&world, &before, INTERVAL * 3).await;
    wait_for_newer(&world, &spare, INTERVAL * 3).await;
    drop(frozen);
    eventually(INTERVAL * 2, "S3 has what is announced, or newer", async || {
        let (announced, object) = (read_announced(&world).await, read_object(&world));
        if time_of(&object) >= time_of(&announced) { Ok(()) } else { Err((announced, object)) }
    })
    .await;
    let last = read_object(&world);
    wait_for_newer(&world, &last, INTERVAL * 3).await;
}
