//! What goes on while a store is away, and what comes back by itself.

use std::{fs, time::Duration};

use mayfly_stack::{Part, Service};
use mayfly_tests::{Answer, PATIENCE, World, beside_others, eventually};
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    find_link, follow, object_file, read_announced, read_object, setup, time_of, wait_for_first,
    wait_for_link, wait_for_newer,
};

const INTERVAL: Duration = Duration::from_secs(2);

/// Waits until `/readyz` of the publisher is 200 and says these words.
async fn wait_for_readyz(world: &World, words: &str) {
    eventually(PATIENCE, words, async || {
        let (status, body) = world.admin(Service::StatsPublisher, "/readyz").await;
        assert_eq!(status, 200, "{body}");
        if body.contains(words) { Ok(()) } else { Err(body) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_s3_is_stopped_the_last_good_object_stays_and_afterwards_there_is_a_fresh_one() {
    let world = setup(1, "2s").start().await;
    wait_for_first(&world).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
    world.stack.stop(Part::S3).await.expect("S3 stops");
    let kept = fs::read(object_file(&world)).expect("there is an object");
    let announced = read_announced(&world).await;
    sleep(INTERVAL * 2).await;
    assert_eq!(fs::read(object_file(&world)).expect("there is an object"), kept);
    assert_eq!(read_announced(&world).await, announced, "what is not in S3 is not announced");
    wait_for_readyz(&world, "\"status\":\"degraded\"").await;
    wait_for_readyz(&world, "S3 is not reachable").await;
    let link = find_link(&world.list("/stat/get/")).await;
    assert_eq!(link.status, 302, "no call to S3 is needed for it");

    let last = read_object(&world);
    world.stack.start(Part::S3).await.expect("S3 starts");
    wait_for_newer(&world, &last, beside_others(INTERVAL * 2)).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_stopped_the_link_works_and_afterwards_there_is_a_fresh_snapshot() {
    let world = setup(1, "2s").own_servers().built_in_timeouts().start().await;
    wait_for_first(&world).await;
    world.stack.stop(Part::Postgres).await.expect("Postgres stops");
    let kept = read_object(&world);
    wait_for_readyz(&world, "\"status\":\"degraded\"").await;
    sleep(INTERVAL).await;
    // One that was read just before Postgres stopped may be put just after.
    let seen = follow(&world).await.expect(200);
    assert!(time_of(&seen) <= time_of(&kept).map(|time| time.plus(INTERVAL)), "{seen}");
    world.stack.start(Part::Postgres).await.expect("Postgres starts");
    let last = read_object(&world);
    wait_for_newer(&world, &last, beside_others(INTERVAL * 2)).await;
    wait_for_readyz(&world, "\"status\":\"ready\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_flushall_there_is_a_snapshot_again_within_seconds_and_tokens_go_on_rising() {
    // Nothing else would make one within the hour.
    let world = setup(1, "1h").own_servers().built_in_timeouts().start().await;
    let first = wait_for_link(&world).await;
    let mut redis = world.redis().await;
    let lease = world.key("lease:stats");
    let token = |value: Option<String>| -> Option<u64> {
        value?.split(':').next().and_then(|token| token.parse().ok())
    };
    let before = token(redis.get(&lease).await.expect("Redis answers"));
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis forgets");
    let flushed = Instant::now();
    let link = find_link(&world.list("/stat/get/")).await;
    assert_eq!(link.status, 302, "one was seen, and it is still there");
    wait_for_newer(&world, &first, beside_others(Duration::from_secs(5))).await;
    println!("a snapshot {:?} after the data was lost", flushed.elapsed());
    let after = token(redis.get(&lease).await.expect("Redis answers"));
    assert!(before.is_some() && after > before, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_stopped_the_link_goes_on_and_nobody_publishes() {
    let world = setup(1, "2s").own_servers().built_in_timeouts().start().await;
    wait_for_link(&world).await;
    world.stack.stop(Part::Redis).await.expect("Redis stops");
    let last = read_object(&world);
    sleep(INTERVAL * 2).await;
    assert_eq!(read_object(&world), last);
    assert_eq!(follow(&world).await.expect(200), last);
    eventually(Duration::from_secs(5), "the publisher is not ready", async || {
        let (status, body) = world.admin(Service::StatsPublisher, "/readyz").await;
        if status == 503 && body.contains("redis") { Ok(()) } else { Err(body) }
    })
    .await;
    world.stack.start(Part::Redis).await.expect("Redis starts");
    wait_for_newer(&world, &last, beside_others(INTERVAL * 2 + Duration::from_secs(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_deleted_is_made_again() {
    let world = setup(1, "2s").start().await;
    let first = wait_for_first(&world).await;
    let bucket = object_file(&world).parent().expect("it lies in a bucket").to_path_buf();
    fs::remove_dir_all(&bucket).expect("the bucket can be deleted");
    let again = wait_for_newer(&world, &first, beside_others(INTERVAL * 2)).await;
    assert!(time_of(&again) > time_of(&first));
    let answer = Answer::of(world.http.get(world.list("/v1/stats"))).await;
    assert_eq!(answer.expect(200)["result"], json!("success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_forbids_to_publish_there_are_snapshots_all_the_same_and_it_is_counted() {
    let world = setup(1, "2s").redis_rules("").start().await;
    let first = wait_for_first(&world).await;
    wait_for_newer(&world, &first, beside_others(INTERVAL * 2)).await;
    let kept: Option<String> =
        world.redis().await.get(world.key("stats")).await.expect("Redis answers");
    assert!(kept.is_some());
    eventually(PATIENCE, "it is counted", async || {
        let (_, metrics) = world.admin(Service::StatsPublisher, "/metrics").await;
        let counted = metrics.lines().any(|line| {
            let count = line.strip_prefix("mayfly_publish_failures_total ");
            count.is_some_and(|count| count != "0")
        });
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await;
}
