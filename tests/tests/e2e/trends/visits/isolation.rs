//! Hosts that cannot be sampled.

use mayfly_core::{Clock, SystemClock};
use mayfly_stack::Service;
use mayfly_tests::{Setup, eventually};
use redis::AsyncCommands;
use serde_json::Value;

use super::{SAMPLE_TIMEOUT, find_trend, send, visit, wait_for_trend};

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_any_name_or_beside_an_unreadable_host_are_sampled() {
    let setup = Setup::new().scale(Service::StatsPublisher, 1).with_s3();
    let world = setup.start().await;
    let mut redis = world.redis().await;
    // The names resemble parts of the Redis keys of other hosts. Another program overwrote a key of
    // the host `overwritten.test`.
    let hosts = ["zz", "zz:v0", "zz:names", "zz:state", "hosts", "a.test:8080"];
    let overwritten = world.key("visits:overwritten.test:names");
    let _: () = redis.set(overwritten, "x").await.expect("Redis responds");
    let now = SystemClock.now().as_millis();
    let _: () =
        redis.zadd(world.key("visits:hosts"), "overwritten.test", now).await.expect("a reply");
    for (visitors, name) in hosts.into_iter().cycle().take(2 * hosts.len()).enumerate() {
        send(&world, &[visit(name, "/", &visitors.to_string())]).await;
    }
    for name in hosts {
        let name = name.replace(':', "%3A");
        wait_for_trend(&world, &name, |trend| trend["visitors"] == 2).await;
    }
    let first = find_trend(&world, "zz").await;
    eventually(SAMPLE_TIMEOUT, "the next round samples the host too", async || {
        let trend = find_trend(&world, "zz").await;
        if trend["sampled_at"] == first["sampled_at"] { Err(trend) } else { Ok(()) }
    })
    .await;
    assert_eq!(find_trend(&world, "overwritten.test").await, Value::Null);
    let (_, metrics) = world.admin(Service::StatsPublisher, "/metrics").await;
    let skipped = "mayfly_skipped_items_total{task=\"sample visits\"} ";
    let line = metrics.lines().find(|line| line.starts_with(skipped)).expect("the metric");
    let count: u64 = line[skipped.len()..].parse().expect("a number");
    assert!(count >= 2, "skipped in each round: {line}");
}
