//! Samples of present visitors.

use std::time::Duration;

use mayfly_core::{Clock, SystemClock};
use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, short_or_full};
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::sleep;

use super::{
    SAMPLE_TIMEOUT, count_stored, find_trend, pages_of, sampled_at, send, visit, wait_for_trend,
};

async fn start(ttl: &str) -> World {
    let setup = Setup::new().scale(Service::StatsPublisher, 1).with_s3();
    setup.set("MAYFLY_VISITS__TTL", ttl).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn visitor_is_counted_from_the_next_sample_until_its_ttl() {
    let ttl = short_or_full(2, 30);
    let world = start(&format!("{ttl}s")).await;
    let host = "leaving.test";
    let one = [visit(host, "/", "a")];
    let mut last_heartbeat = SystemClock.now();
    eventually(SAMPLE_TIMEOUT, "the visitor is counted", async || {
        last_heartbeat = SystemClock.now();
        send(&world, &one).await;
        let trend = find_trend(&world, host).await;
        if trend["visitors"] == 1 { Ok(()) } else { Err(trend) }
    })
    .await;
    let counted = find_trend(&world, host).await;
    assert_eq!((counted["exact"].clone(), pages_of(&counted).len()), (json!(true), 1));
    let ttl = Duration::from_secs(ttl);
    let empty = eventually(ttl + SAMPLE_TIMEOUT, "the visitor is no longer counted", async || {
        let trend = find_trend(&world, host).await;
        if trend["visitors"] == 0 { Ok(trend) } else { Err(trend) }
    })
    .await;
    let elapsed = sampled_at(&empty).since(last_heartbeat);
    assert!(elapsed >= ttl && elapsed < ttl + Duration::from_secs(7), "{elapsed:?}");
    assert_eq!(empty["pages"], json!([]));
    // The host has no visitors and is not sampled again.
    let hosts = world.key("visits:hosts");
    eventually(Duration::from_secs(2), "the host is removed", async || {
        let hosts: Vec<String> =
            world.redis().await.zrange(&hosts, 0, -1).await.expect("Redis responds");
        if hosts.is_empty() { Ok(()) } else { Err(hosts) }
    })
    .await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(find_trend(&world, host).await, empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn visitor_counts_once_per_page_and_pages_are_identified_by_path() {
    let world = start("30s").await;
    let host = "pages.test";
    let titled = |path: &str, title: &str, visitor: &str| json!({"host": "Pages.TEST", "path": path, "title": title, "visitor": visitor});
    send(&world, &[titled("/1", "The same", "a"), titled("/2", "The same", "a")]).await;
    send(&world, &[titled("/2", "The same", "b"), titled("/2", "The same", "b")]).await;
    send(&world, &[visit(host, "/3", "a"), visit(host, "/3", "a"), visit(host, "/2", "b")]).await;
    let page = |path: &str, title: Option<&str>, visitors: u64| {
        (path.to_owned(), title.map(str::to_owned), visitors)
    };
    let shared_title = Some("The same");
    let expected = [page("/2", shared_title, 2), page("/1", shared_title, 1), page("/3", None, 1)];
    let all = |trend: &serde_json::Value| trend["visitors"] == 2 && pages_of(trend) == expected;
    let first = wait_for_trend(&world, host, all).await;
    assert_eq!((first["exact"].clone(), first["host"].clone()), (json!(true), json!(host)));
    // A given title replaces the stored one; a missing title keeps it.
    send(&world, &[titled("/1", "Another", "c"), visit(host, "/2", "c")]).await;
    let expected =
        [page("/2", shared_title, 3), page("/1", Some("Another"), 2), page("/3", None, 1)];
    let second =
        wait_for_trend(&world, host, |trend| trend["visitors"] == 3 && pages_of(trend) == expected)
            .await;
    // The previous values come from an earlier sample.
    assert!(second["compared_to"].as_str() >= first["sampled_at"].as_str(), "{second}");
    let before: Vec<_> = expected.iter().zip(second["pages"].as_array().expect("pages")).collect();
    assert!(before.iter().all(|(_, page)| page["before"].is_u64()), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn estimated_count_is_published_as_not_exact() {
    let setup = Setup::new().scale(Service::StatsPublisher, 1).with_s3();
    let world = setup.set("MAYFLY_VISITS__EXACT_MAX", "100").start().await;
    let host = "estimated.test";
    let visits: Vec<_> = (0..1_000)
        .map(|visitor| visit(host, &format!("/{}", visitor % 20), &format!("visitor-{visitor}")))
        .collect();
    send(&world, &visits).await;
    let trend = wait_for_trend(&world, host, |trend| trend["exact"] == false).await;
    let visitors = trend["visitors"].as_u64().expect("a number");
    // At least 50 visitors are sampled, so the standard error is at most 14%.
    assert!((500..=1_500).contains(&visitors), "{trend}");
    assert!(count_stored(&world, host).await <= 100);
}
