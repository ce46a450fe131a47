//! Several publishers: one leader and standbys.

use std::{
    collections::BTreeSet,
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_stack::Service;
use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually, send_signal, short_or_full};
use nix::sys::signal::Signal;
use redis::AsyncCommands;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Announcements, intervals_of, read_announced, read_object, setup, time_of, wait_for_first,
    wait_for_newer,
};

/// Returns the number of snapshots that each publisher has published.
async fn count_published(world: &World) -> Vec<u64> {
    let mut counts = Vec::new();
    for admin in world.stack.env().admin_urls(Service::StatsPublisher) {
        let response = world.http.get(format!("{admin}/metrics")).send().await;
        let metrics = response.expect("the admin port responds").text().await.expect("valid UTF-8");
        let name = "mayfly_snapshots_total{result=\"published\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        counts.push(line.and_then(|count| count.parse().ok()).unwrap_or(0));
    }
    counts
}

/// Returns the index of the publisher that publishes the next snapshot.
pub async fn find_leader(world: &World) -> usize {
    let before = count_published(world).await;
    eventually(DEFAULT_TIMEOUT, "a publisher publishes", async || {
        let now = count_published(world).await;
        let leader = now.iter().zip(&before).position(|(now, before)| now > before);
        leader.ok_or(now)
    })
    .await
}

/// Collects the generation times of all objects in S3 until `done`.
async fn watch_object(world: World, done: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut times = BTreeSet::new();
    while !done.load(Ordering::Relaxed) {
        times.extend(time_of(&read_object(&world)).map(Timestamp::as_millis));
        sleep(Duration::from_millis(5)).await;
    }
    times
}

fn assert_one_per_interval(snapshots: &[Value], interval: Duration) {
    let intervals = intervals_of(snapshots, interval);
    let first = *intervals.first().expect("at least one announcement");
    let expected: Vec<i64> = (first..).take(intervals.len()).collect();
    assert_eq!(intervals, expected, "expected one snapshot per interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_publishers_publish_one_snapshot_per_interval() {
    // The interval is longer than a pause of a busy machine.
    let (seconds, setting) = short_or_full((2, "2s"), (1, "1s"));
    let interval = Duration::from_secs(seconds);
    let world = setup(3, setting).start().await;
    // Publishers are ready before one of them is leader.
    wait_for_first(&world).await;
    let announcements = Announcements::listen(&world).await;
    let done = Arc::<AtomicBool>::default();
    let objects = tokio::spawn(watch_object(world.clone(), done.clone()));
    sleep(interval * short_or_full(5, 60)).await;
    let announced = announcements.stop().await;
    done.store(true, Ordering::Relaxed);
    let objects = objects.await.expect("the watcher does not panic");
    assert!(announced.len() >= short_or_full(4, 59), "{announced:?}");
    assert_one_per_interval(&announced, interval);
    for snapshot in &announced {
        let time = time_of(snapshot).expect("a snapshot has a time").as_millis();
        assert!(objects.contains(&time), "{snapshot} was announced but not uploaded: {objects:?}");
    }
    // One object before the first recorded announcement, and one that is not announced yet.
    assert!(objects.len() <= announced.len() + 2, "{objects:?} for {announced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interval_after_a_leader_kill_still_has_its_snapshot() {
    const INTERVAL: Duration = Duration::from_secs(4);
    let world = setup(2, "4s").start().await;
    let leader = find_leader(&world).await;
    let announcements = Announcements::listen(&world).await;
    for _ in 0..short_or_full(1, 10) {
        let last = read_announced(&world).await;
        // The leader is killed just before the next interval.
        let next = (intervals_of(slice::from_ref(&last), INTERVAL)[0] + 1) * 4_000;
        sleep(Timestamp::from_millis(next - 100).since(SystemClock.now())).await;
        let pid = world.stack.env().pids(Service::StatsPublisher)[leader];
        send_signal(pid, Signal::SIGKILL);
        wait_for_newer(&world, &last, INTERVAL).await;
    }
    sleep(INTERVAL).await;
    let announced = announcements.stop().await;
    assert!(announced.len() >= 2, "{announced:?}");
    assert_one_per_interval(&announced, INTERVAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_releases_its_lease_on_shutdown() {
    let world = setup(1, "1h").start().await;
    let lease = world.key("lease:stats");
    let mut redis = world.redis().await;
    // The publisher is ready before it becomes leader.
    wait_for_first(&world).await;
    let ttl: i64 = redis.pttl(&lease).await.expect("Redis responds");
    assert!((1..=10_000).contains(&ttl), "{ttl}");
    world.stack.stop(Service::StatsPublisher).await.expect("the publisher stops");
    let held: Option<String> = redis.get(&lease).await.expect("Redis responds");
    assert_eq!(held, None);
}
