//! Of more visitors than are counted one by one, some are.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, short_or_full};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{SAMPLED_WITHIN, count_kept, find_sighting, pages_of, send, until_seen, visit};

const HOST: &str = "thinned.test";

async fn start(exact_max: &str, ttl: &str) -> World {
    let setup = Setup::new().with(Service::StatsPublisher, 1).with_s3();
    setup.set("MAYFLY_VISITS__EXACT_MAX", exact_max).set("MAYFLY_VISITS__TTL", ttl).start().await
}

/// So many visitors, each on one of 20 pages.
fn visitors(count: u32) -> Vec<Value> {
    let on = |n: u32| visit(HOST, &format!("/{}", n % 20), &format!("visitor-{n}"));
    (0..count).map(on).collect()
}

fn number(seen: &Value) -> f64 {
    f64::from(u32::try_from(seen["visitors"].as_u64().expect("a number")).expect("few"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_as_many_visitors_are_estimated_within_bounds() {
    let world = start("2000", "60s").await;
    let visits = visitors(20_000);
    send(&world, &visits[..2_000]).await;
    until_seen(&world, HOST, |seen| seen["visitors"] == 2_000 && seen["exact"] == true).await;
    send(&world, &visits).await;
    let kept = count_kept(&world, HOST).await;
    assert!((1_000..=2_000).contains(&kept), "{kept}");
    let seen = until_seen(&world, HOST, |seen| number(seen) > 15_000.0).await;
    assert_eq!(seen["exact"], false);
    let error = (number(&seen) - 20_000.0).abs() / 20_000.0;
    println!("{kept} kept; the host has {}: {error:.3}", seen["visitors"]);
    assert!(error < 0.05, "{seen}");
    let pages = pages_of(&seen);
    assert_eq!(pages.len(), 20);
    // Each page is counted by some 60 to 100 visitors: the standard error is about a tenth.
    for (path, _, visitors) in pages {
        assert!((600..=1_400).contains(&visitors), "{path}: {visitors}");
    }
    let mut redis = world.redis().await;
    for class in 0..13 {
        let of = |kind: &str| world.key(&format!("visits:{HOST}:{kind}{class}"));
        let (visits, visitors): (u64, u64) = (
            redis.zcard(of("p")).await.expect("it is one"),
            redis.zcard(of("v")).await.expect("it is one"),
        );
        let counts: Vec<u64> = redis.hvals(of("c")).await.expect("it is one");
        assert_eq!((counts.iter().sum::<u64>(), visitors), (visits, visits), "class {class}");
        let expires: i64 = redis.ttl(of("p")).await.expect("Redis answers");
        assert!(visits == 0 || (1..=70).contains(&expires), "class {class}: {expires}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_few_are_left_each_is_counted_again() {
    let world = start("50", "2s").await;
    eventually(SAMPLED_WITHIN, "some are counted for all", async || {
        send(&world, &visitors(150)).await;
        let seen = find_sighting(&world, HOST).await;
        if seen["exact"] == false && number(&seen) > 75.0 { Ok(()) } else { Err(seen) }
    })
    .await;
    let few = visitors(12);
    // From four visitors in one back to one: each step takes a sample to begin, and the time in which all are heard of.
    let within = Duration::from_secs(short_or_full(60, 90));
    let seen = eventually(within, "each is counted", async || {
        send(&world, &few).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let seen = find_sighting(&world, HOST).await;
        if seen["exact"] == true { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!((seen["visitors"].clone(), pages_of(&seen).len()), (json!(12), 12));
    let names: u64 = world
        .redis()
        .await
        .hlen(world.key(&format!("visits:{HOST}:names")))
        .await
        .expect("Redis answers");
    assert_eq!(names, 12, "pages that nobody visits are forgotten");
}
