//! Behavior during and after outages of S3, Postgres and Redis.

use std::{fs, time::Duration};

use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually, with_slack};
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    follow_link, get_link, object_file, read_announced, read_object, setup, time_of,
    wait_for_first, wait_for_link, wait_for_newer,
};

const INTERVAL: Duration = Duration::from_secs(2);

/// Waits until `/readyz` of the publisher is 200 and contains this text.
async fn wait_for_readyz(world: &World, text: &str) {
    eventually(DEFAULT_TIMEOUT, text, async || {
        let (status, body) = world.admin(Service::StatsPublisher, "/readyz").await;
        assert_eq!(status, 200, "{body}");
        if body.contains(text) { Ok(()) } else { Err(body) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_outage_keeps_the_last_object_and_recovers() {
    let world = setup(1, "2s").start().await;
    wait_for_first(&world).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
    world.stack.stop(ProcessKind::S3).await.expect("S3 stops");
    let last_object = fs::read(object_file(&world)).expect("the object exists");
    let announced = read_announced(&world).await;
    sleep(INTERVAL * 2).await;
    assert_eq!(fs::read(object_file(&world)).expect("the object exists"), last_object);
    assert_eq!(read_announced(&world).await, announced, "only uploaded snapshots are announced");
    wait_for_readyz(&world, "\"status\":\"degraded\"").await;
    wait_for_readyz(&world, "S3 is unavailable").await;
    let link = get_link(&world.list_url("/stat/get/")).await;
    assert_eq!(link.status, 302, "the redirect needs no call to S3");

    let last = read_object(&world);
    world.stack.start(ProcessKind::S3).await.expect("S3 starts");
    wait_for_newer(&world, &last, with_slack(INTERVAL * 2)).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_outage_keeps_the_link_and_recovers() {
    let world = setup(1, "2s").dedicated_servers().default_timeouts().start().await;
    wait_for_first(&world).await;
    world.stack.stop(ProcessKind::Postgres).await.expect("Postgres stops");
    let last_object = read_object(&world);
    wait_for_readyz(&world, "\"status\":\"degraded\"").await;
    sleep(INTERVAL).await;
    // A snapshot generated just before the outage may be uploaded just after.
    let snapshot = follow_link(&world).await.expect_status(200);
    assert!(
        time_of(&snapshot) <= time_of(&last_object).map(|time| time.plus(INTERVAL)),
        "{snapshot}"
    );
    world.stack.start(ProcessKind::Postgres).await.expect("Postgres starts");
    let last = read_object(&world);
    wait_for_newer(&world, &last, with_slack(INTERVAL * 2)).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushall_is_followed_by_a_snapshot_and_a_higher_fencing_token() {
    // The regular interval is an hour.
    let world = setup(1, "1h").dedicated_servers().default_timeouts().start().await;
    let first = wait_for_link(&world).await;
    let mut redis = world.redis().await;
    let lease = world.key("lease:stats");
    let token = |value: Option<String>| -> Option<u64> {
        value?.split(':').next().and_then(|token| token.parse().ok())
    };
    let before = token(redis.get(&lease).await.expect("Redis responds"));
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
    let flushed = Instant::now();
    let link = get_link(&world.list_url("/stat/get/")).await;
    assert_eq!(link.status, 302, "the object still exists");
    wait_for_newer(&world, &first, with_slack(Duration::from_secs(5))).await;
    println!("a snapshot {:?} after the data was lost", flushed.elapsed());
    let after = token(redis.get(&lease).await.expect("Redis responds"));
    assert!(before.is_some() && after > before, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_outage_keeps_the_link_and_stops_publishing() {
    let world = setup(1, "2s").dedicated_servers().default_timeouts().start().await;
    wait_for_link(&world).await;
    world.stack.stop(ProcessKind::Redis).await.expect("Redis stops");
    let last = read_object(&world);
    sleep(INTERVAL * 2).await;
    assert_eq!(read_object(&world), last);
    assert_eq!(follow_link(&world).await.expect_status(200), last);
    eventually(Duration::from_secs(5), "the publisher is not ready", async || {
        let (status, body) = world.admin(Service::StatsPublisher, "/readyz").await;
        if status == 503 && body.contains("redis") { Ok(()) } else { Err(body) }
    })
    .await;
    world.stack.start(ProcessKind::Redis).await.expect("Redis starts");
    wait_for_newer(&world, &last, with_slack(INTERVAL * 2 + Duration::from_secs(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_bucket_is_recreated() {
    let world = setup(1, "2s").start().await;
    let first = wait_for_first(&world).await;
    let bucket = object_file(&world).parent().expect("the object is in a bucket").to_path_buf();
    fs::remove_dir_all(&bucket).expect("the bucket is deleted");
    let recreated = wait_for_newer(&world, &first, with_slack(INTERVAL * 2)).await;
    assert!(time_of(&recreated) > time_of(&first));
    assert_eq!(wait_for_link(&world).await["result"], json!("success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_publish_is_counted_and_snapshots_continue() {
    let world = setup(1, "2s").redis_acl("").start().await;
    let first = wait_for_first(&world).await;
    wait_for_newer(&world, &first, with_slack(INTERVAL * 2)).await;
    let last_object: Option<String> =
        world.redis().await.get(world.key("stats")).await.expect("Redis responds");
    assert!(last_object.is_some());
    eventually(DEFAULT_TIMEOUT, "the failure is counted", async || {
        let (_, metrics) = world.admin(Service::StatsPublisher, "/metrics").await;
        let counted = metrics.lines().any(|line| {
            let count = line.strip_prefix("mayfly_publish_failures_total ");
            count.is_some_and(|count| count != "0")
        });
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await;
}
