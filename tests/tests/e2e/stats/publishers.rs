//! Several publishers are one, and spares.

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
use mayfly_tests::{PATIENCE, World, eventually, send_signal, short_or_full};
use nix::sys::signal::Signal;
use redis::AsyncCommands;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Announcements, intervals_of, read_announced, read_object, setup, time_of, wait_for_first,
    wait_for_newer,
};

/// How many snapshots each publisher has published.
async fn published_by(world: &World) -> Vec<u64> {
    let mut counts = Vec::new();
    for admin in world.stack.env().admin_urls(Service::StatsPublisher) {
        let answer = world.http.get(format!("{admin}/metrics")).send().await;
        let metrics = answer.expect("it answers").text().await.expect("it is text");
        let name = "mayfly_snapshots_total{result=\"published\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        counts.push(line.and_then(|count| count.parse().ok()).unwrap_or(0));
    }
    counts
}

/// Which publisher makes the next snapshot.
pub async fn find_leader(world: &World) -> usize {
    let before = published_by(world).await;
    eventually(PATIENCE, "one of them publishes", async || {
        let now = published_by(world).await;
        let grown = now.iter().zip(&before).position(|(now, before)| now > before);
        grown.ok_or(now)
    })
    .await
}

/// Collects every object that ever lies in S3, by the times of their numbers.
async fn watch_object(world: World, done: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    while !done.load(Ordering::Relaxed) {
        seen.extend(time_of(&read_object(&world)).map(Timestamp::as_millis));
        sleep(Duration::from_millis(5)).await;
    }
    seen
}

fn assert_one_each(snapshots: &[Value], interval: Duration) {
    let intervals = intervals_of(snapshots, interval);
    let first = *intervals.first().expect("something was announced");
    let expected: Vec<i64> = (first..).take(intervals.len()).collect();
    assert_eq!(intervals, expected, "not one snapshot in each interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_publishers_make_one_snapshot_in_each_interval() {
    // So long that a pause of a busy machine does not take a whole one.
    let (seconds, setting) = short_or_full((2, "2s"), (1, "1s"));
    let interval = Duration::from_secs(seconds);
    let world = setup(3, setting).start().await;
    // They are ready before one of them leads.
    wait_for_first(&world).await;
    let announcements = Announcements::listen(&world).await;
    let done = Arc::<AtomicBool>::default();
    let objects = tokio::spawn(watch_object(world.clone(), done.clone()));
    sleep(interval * short_or_full(5, 60)).await;
    let announced = announcements.stop().await;
    done.store(true, Ordering::Relaxed);
    let objects = objects.await.expect("the object is watched");
    assert!(announced.len() >= short_or_full(4, 59), "{announced:?}");
    assert_one_each(&announced, interval);
    for snapshot in &announced {
        let time = time_of(snapshot).expect("it has a time").as_millis();
        assert!(objects.contains(&time), "{snapshot} was announced and not put: {objects:?}");
    }
    // One before the first announcement that was heard, and one that is not announced yet.
    assert!(objects.len() <= announced.len() + 2, "{objects:?} for {announced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_before_an_interval_that_interval_has_its_snapshot() {
    const INTERVAL: Duration = Duration::from_secs(4);
    let world = setup(2, "4s").start().await;
    let leader = find_leader(&world).await;
    let announcements = Announcements::listen(&world).await;
    for _ in 0..short_or_full(1, 10) {
        let last = read_announced(&world).await;
        // Just before the next interval begins.
        let next = (intervals_of(slice::from_ref(&last), INTERVAL)[0] + 1) * 4_000;
        sleep(Timestamp::from_millis(next - 100).since(SystemClock.now())).await;
        let pid = world.stack.env().pids(Service::StatsPublisher)[leader];
        send_signal(pid, Signal::SIGKILL);
        wait_for_newer(&world, &last, INTERVAL).await;
    }
    sleep(INTERVAL).await;
    let announced = announcements.stop().await;
    assert!(announced.len() >= 2, "{announced:?}");
    assert_one_each(&announced, INTERVAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_drains_gives_its_lease_back() {
    let world = setup(1, "1h").start().await;
    let lease = world.key("lease:stats");
    let mut redis = world.redis().await;
    // It is ready before it leads.
    wait_for_first(&world).await;
    let ttl: i64 = redis.pttl(&lease).await.expect("Redis answers");
    assert!((1..=10_000).contains(&ttl), "{ttl}");
    world.stack.stop(Service::StatsPublisher).await.expect("it stops");
    let held: Option<String> = redis.get(&lease).await.expect("Redis answers");
    assert_eq!(held, None);
}
