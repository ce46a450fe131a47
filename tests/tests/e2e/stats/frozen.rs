//! A publisher that is frozen while another publishes: its late writes have no lasting effect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Frozen, ServiceProcess, World, eventually, short_or_full, with_slack,
};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    publishers::find_leader,
    read_announced, read_object,
    s3_proxy::{PutMode, S3Proxy},
    setup, start_process, time_of, wait_for_newer,
};

const INTERVAL: Duration = Duration::from_secs(2);
/// The lease duration for long intervals.
const LEASE_DURATION: Duration = Duration::from_secs(10);

/// Checks until `done` that neither the object nor the announcement is replaced by an older one.
/// Returns the number of different objects.
async fn watch(world: World, done: Arc<AtomicBool>) -> usize {
    let (mut object, mut announced): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    let mut objects = 0;
    while !done.load(Ordering::Relaxed) {
        let now = time_of(&read_announced(&world).await);
        assert!(now >= announced, "the announcement regressed from {announced:?} to {now:?}");
        announced = now;
        let now = time_of(&read_object(&world));
        assert!(now >= object, "the object regressed from {object:?} to {now:?}");
        assert!(now >= announced, "S3 has {now:?}, but {announced:?} is announced");
        objects += usize::from(now > object);
        object = now;
        sleep(Duration::from_millis(2)).await;
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_leader_overwrites_nothing_newer_in_s3_or_redis() {
    let world = setup(2, "2s").start().await;
    let done = Arc::<AtomicBool>::default();
    let watcher = tokio::spawn(watch(world.clone(), done.clone()));
    for round in 0..short_or_full(2, 20) {
        let leader = find_leader(&world).await;
        // At a different time within the interval in each round.
        sleep(Duration::from_millis(round * 370 % 2_000)).await;
        let pid = world.stack.env().pids(Service::StatsPublisher)[leader];
        let frozen = Frozen::freeze([pid]);
        let before = read_object(&world);
        sleep(INTERVAL * 2).await;
        wait_for_newer(&world, &before, DEFAULT_TIMEOUT).await;
        drop(frozen);
    }
    sleep(INTERVAL).await;
    done.store(true, Ordering::Relaxed);
    let objects = watcher.await.expect("nothing regresses");
    assert!(objects >= 4, "only {objects} snapshots");
}

/// Starts a publisher whose first put is held back. The next snapshot is due in an hour.
async fn start_with_held_put() -> (World, S3Proxy, ServiceProcess) {
    let world = setup(0, "1h").start().await;
    let proxy = S3Proxy::start(&world, PutMode::Hold).await;
    let endpoint = proxy.endpoint();
    let settings = [("AWS_ENDPOINT_URL", endpoint.as_str())];
    let late = start_process(&world, Service::StatsPublisher, &settings).await;
    eventually(DEFAULT_TIMEOUT, "the publisher uploads", async || {
        if proxy.put_count() > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    (world, proxy, late)
}

/// Waits until the object equals the announced snapshot.
async fn wait_for_announced_object(world: &World, within: Duration) -> Value {
    eventually(within, "S3 has the announced snapshot", async || {
        let (announced, object) = (read_announced(world).await, read_object(world));
        let is_same = !object.is_null() && object == announced;
        if is_same { Ok(object) } else { Err((announced, object)) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn late_put_of_another_publisher_is_repaired() {
    let (world, proxy, _late) = start_with_held_put().await;
    let _standby = start_process(&world, Service::StatsPublisher, &[]).await;
    let newer = wait_for_announced_object(&world, with_slack(LEASE_DURATION * 2)).await;
    proxy.set(PutMode::Forward);
    eventually(DEFAULT_TIMEOUT, "the late put overwrites the object", async || {
        let object = read_object(&world);
        if time_of(&object) < time_of(&newer) { Ok(()) } else { Err(object) }
    })
    .await;
    let object = wait_for_announced_object(&world, with_slack(LEASE_DURATION * 2)).await;
    assert_eq!(object, newer, "no other snapshot was due");
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_shuts_down_during_a_put_does_not_release_its_lease() {
    let (world, _proxy, late) = start_with_held_put().await;
    let (status, elapsed, _) = late.terminate(Duration::from_secs(10)).await;
    assert!(status.success(), "{status} after {elapsed:?}");
    let lease = world.key("lease:stats");
    let ttl: i64 = world.redis().await.pttl(&lease).await.expect("Redis responds");
    assert!(ttl > 0, "the put may still succeed, so no other publisher may lead: {ttl}");
}
