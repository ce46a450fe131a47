//! What samples show: who is there, once each, and for as long as heartbeats come.

use std::time::Duration;

use mayfly_core::{Clock, SystemClock};
use mayfly_stack::Service;
use mayfly_tests::{Setup, World, eventually, short_or_full};
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::sleep;

use super::{SAMPLED_WITHIN, find_sighting, pages_of, sampled_at, send, until_seen, visit};

async fn start(ttl: &str) -> World {
    let setup = Setup::new().with(Service::StatsPublisher, 1).with_s3();
    setup.set("MAYFLY_VISITS__TTL", ttl).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_seen_at_the_next_sample_and_until_its_time_is_over() {
    let ttl = short_or_full(2, 30);
    let world = start(&format!("{ttl}s")).await;
    let host = "leaving.test";
    let one = [visit(host, "/", "a")];
    let mut last_heartbeat = SystemClock.now();
    eventually(SAMPLED_WITHIN, "it is seen", async || {
        last_heartbeat = SystemClock.now();
        send(&world, &one).await;
        let seen = find_sighting(&world, host).await;
        if seen["visitors"] == 1 { Ok(()) } else { Err(seen) }
    })
    .await;
    let counted = find_sighting(&world, host).await;
    assert_eq!((counted["exact"].clone(), pages_of(&counted).len()), (json!(true), 1));
    let ttl = Duration::from_secs(ttl);
    let empty = eventually(ttl + SAMPLED_WITHIN, "it has left", async || {
        let seen = find_sighting(&world, host).await;
        if seen["visitors"] == 0 { Ok(seen) } else { Err(seen) }
    })
    .await;
    let after = sampled_at(&empty).since(last_heartbeat);
    assert!(after >= ttl && after < ttl + Duration::from_secs(7), "{after:?}");
    assert_eq!(empty["pages"], json!([]));
    // That was the last sample; the host is not one with visitors any more.
    let hosts = world.key("visits:hosts");
    eventually(Duration::from_secs(2), "the host is forgotten", async || {
        let hosts: Vec<String> =
            world.redis().await.zrange(&hosts, 0, -1).await.expect("Redis answers");
        if hosts.is_empty() { Ok(()) } else { Err(hosts) }
    })
    .await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(find_sighting(&world, host).await, empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_counts_once_on_each_page_and_pages_are_told_apart_by_their_paths() {
    let world = start("30s").await;
    let host = "pages.test";
    let titled = |path: &str, title: &str, visitor: &str| json!({"host": "Pages.TEST", "path": path, "title": title, "visitor": visitor});
    send(&world, &[titled("/1", "The same", "a"), titled("/2", "The same", "a")]).await;
    send(&world, &[titled("/2", "The same", "b"), titled("/2", "The same", "b")]).await;
    send(&world, &[visit(host, "/3", "a"), visit(host, "/3", "a"), visit(host, "/2", "b")]).await;
    let page = |path: &str, title: Option<&str>, visitors: u64| {
        (path.to_owned(), title.map(str::to_owned), visitors)
    };
    let same = Some("The same");
    let wanted = [page("/2", same, 2), page("/1", same, 1), page("/3", None, 1)];
    let all = |seen: &serde_json::Value| seen["visitors"] == 2 && pages_of(seen) == wanted;
    let first = until_seen(&world, host, all).await;
    assert_eq!((first["exact"].clone(), first["host"].clone()), (json!(true), json!(host)));
    // A title that is given replaces the one known, and none leaves it.
    send(&world, &[titled("/1", "Another", "c"), visit(host, "/2", "c")]).await;
    let wanted = [page("/2", same, 3), page("/1", Some("Another"), 2), page("/3", None, 1)];
    let second =
        until_seen(&world, host, |seen| seen["visitors"] == 3 && pages_of(seen) == wanted).await;
    // What was there before is that of a sample before.
    assert!(second["compared_to"].as_str() >= first["sampled_at"].as_str(), "{second}");
    let before: Vec<_> = wanted.iter().zip(second["pages"].as_array().expect("pages")).collect();
    assert!(before.iter().all(|(_, page)| page["before"].is_u64()), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_pages_a_hundred_are_shown_most_visitors_first_then_by_path() {
    let world = start("30s").await;
    let host = "many.test";
    let mut visits = Vec::new();
    for page in 0..150 {
        let visitors = if page >= 140 { 3 } else { 1 };
        let on = |visitor: u32| visit(host, &format!("/{page:03}"), &format!("v{page}-{visitor}"));
        visits.extend((0..visitors).map(on));
    }
    send(&world, &visits).await;
    let seen = until_seen(&world, host, |seen| seen["visitors"] == 170).await;
    let paths: Vec<_> = pages_of(&seen).into_iter().map(|page| page.0).collect();
    let wanted: Vec<_> = (140..150).chain(0..90).map(|page| format!("/{page:03}")).collect();
    assert_eq!(paths, wanted);
}
