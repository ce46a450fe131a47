//! Many visitors are estimated from a sample.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, short_or_full};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{SAMPLE_TIMEOUT, count_stored, find_trend, pages_of, send, visit, wait_for_trend};

const HOST: &str = "thinned.test";

async fn start(max_exact: &str, ttl: &str) -> World {
    let setup = Setup::new().scale(Service::StatsPublisher, 1).with_s3();
    setup.set("MAYFLY_VISITS__EXACT_MAX", max_exact).set("MAYFLY_VISITS__TTL", ttl).start().await
}

/// Returns visits of different visitors on 20 pages.
fn visitors(count: u32) -> Vec<Value> {
    let on = |n: u32| visit(HOST, &format!("/{}", n % 20), &format!("visitor-{n}"));
    (0..count).map(on).collect()
}

fn number(trend: &Value) -> f64 {
    f64::from(
        u32::try_from(trend["visitors"].as_u64().expect("a number"))
            .expect("fits in the integer type"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn estimate_of_ten_times_the_exact_limit_is_within_bounds() {
    let world = start("2000", "60s").await;
    let visits = visitors(20_000);
    send(&world, &visits[..2_000]).await;
    wait_for_trend(&world, HOST, |trend| trend["visitors"] == 2_000 && trend["exact"] == true)
        .await;
    send(&world, &visits).await;
    let stored = count_stored(&world, HOST).await;
    assert!((1_000..=2_000).contains(&stored), "{stored}");
    let trend = wait_for_trend(&world, HOST, |trend| number(trend) > 15_000.0).await;
    assert_eq!(trend["exact"], false);
    let error = (number(&trend) - 20_000.0).abs() / 20_000.0;
    println!("{stored} stored; estimate {}: error {error:.3}", trend["visitors"]);
    assert!(error < 0.05, "{trend}");
    let pages = pages_of(&trend);
    assert_eq!(pages.len(), 20);
    // Each page has 60 to 100 sampled visitors, so the standard error is about 10 %.
    for (path, _, visitors) in pages {
        assert!((600..=1_400).contains(&visitors), "{path}: {visitors}");
    }
    let mut redis = world.redis().await;
    for class in 0..13 {
        let key_of = |kind: &str| world.key(&format!("visits:{HOST}:{kind}{class}"));
        let (visits, visitors): (u64, u64) = (
            redis.zcard(key_of("p")).await.expect("a valid value"),
            redis.zcard(key_of("v")).await.expect("a valid value"),
        );
        let counts: Vec<u64> = redis.hvals(key_of("c")).await.expect("a valid value");
        assert_eq!((counts.iter().sum::<u64>(), visitors), (visits, visits), "class {class}");
        let expires: i64 = redis.ttl(key_of("p")).await.expect("Redis responds");
        assert!(visits == 0 || (1..=70).contains(&expires), "class {class}: {expires}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_become_exact_again_with_few_visitors() {
    let world = start("50", "2s").await;
    eventually(SAMPLE_TIMEOUT, "the count is estimated", async || {
        send(&world, &visitors(150)).await;
        let trend = find_trend(&world, HOST).await;
        if trend["exact"] == false && number(&trend) > 75.0 { Ok(()) } else { Err(trend) }
    })
    .await;
    let few = visitors(12);
    // From a sampling rate of 1/4 back to 1: each step starts at a sample and takes one TTL.
    let within = Duration::from_secs(short_or_full(60, 90));
    let trend = eventually(within, "the count is exact", async || {
        send(&world, &few).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let trend = find_trend(&world, HOST).await;
        if trend["exact"] == true { Ok(trend) } else { Err(trend) }
    })
    .await;
    assert_eq!((trend["visitors"].clone(), pages_of(&trend).len()), (json!(12), 12));
    let names: u64 = world
        .redis()
        .await
        .hlen(world.key(&format!("visits:{HOST}:names")))
        .await
        .expect("Redis responds");
    assert_eq!(names, 12, "pages without visitors are removed");
}
