//! Listing counts, highest first.

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, Counts, DEFAULT_TIMEOUT, Setup, World, parse_counts};
use serde_json::Value;

use super::{plays_of, videos};

/// Reads all pages by following the `Link` headers.
async fn list_all(world: &World, limit: usize) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut url = world.list_url(&format!("/v1/plays?limit={limit}"));
    loop {
        let response = ApiResponse::send(world.http.get(&url)).await;
        let page = response.expect_status(200);
        let items = parse_counts(&page["items"]);
        assert!(items.len() <= limit);
        all.extend(items);
        let link = response.headers.get("link").map(|link| link.to_str().expect("text").to_owned());
        assert_eq!(link.is_some(), page["has_more"] == true);
        let Some(link) = link else { return all };
        url =
            link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("a link").0.into();
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        assert!(url.ends_with(cursor) && cursor.len() <= 256, "{url}");
    }
}

/// Returns counts with ties, unique counts, and long IDs with a common prefix.
fn mixed() -> Counts {
    let long = "🦋".repeat(100);
    let mut counts = videos("tie", 30, 3);
    counts.extend((1..10).map(|n| (format!("own-{n}"), n)));
    counts.extend((0..12).map(|n| (format!("{long}{n:02}"), 3)));
    counts.extend((0..5).map(|n| (format!("{long}{n:02}x"), 2)));
    counts
}

fn sort_expected(counts: &Counts) -> Vec<(String, u64)> {
    let mut all: Vec<_> = counts.clone().into_iter().collect();
    all.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(b.cmp(a)));
    all
}

#[tokio::test]
async fn pages_contain_each_video_once_in_order() {
    let world = Setup::new().start().await;
    let empty =
        ApiResponse::send(world.http.get(world.list_url("/v1/plays"))).await.expect_status(200);
    assert_eq!((&empty["items"], &empty["next_cursor"]), (&Value::Array(vec![]), &Value::Null));
    let counts = mixed();
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    for limit in [1, 2, 3, 7, 50, 1_000] {
        assert_eq!(list_all(&world, limit).await, sort_expected(&counts), "{limit}");
    }
    let (_, page) = world.get("/v1/plays").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(50), "the default limit");
}

#[tokio::test]
async fn pages_come_from_postgres_while_redis_is_incomplete() {
    let world = Setup::new().start().await;
    let counts = mixed();
    world.post_plays(&plays_of(&counts)).await;
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    // Without a worker, the counts in Redis are not rebuilt.
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let mut redis = world.redis().await;
    let mut delete = redis::cmd("DEL");
    delete.arg(world.key("ledger")).arg(world.key("plays:counts"));
    delete.exec_async(&mut redis).await.expect("Redis responds");
    for limit in [1, 3, 1_000] {
        assert_eq!(list_all(&world, limit).await, sort_expected(&counts), "{limit}");
    }
    world.wait_for_count("own-9", 9).await;
    assert_eq!(world.get("/v1/plays/never").await.0, 404);
}

#[tokio::test]
async fn pagination_misses_no_unchanged_video_while_others_change() {
    let world = Setup::new().start().await;
    let unchanged = videos("rest", 40, 2);
    world.post_plays(&plays_of(&unchanged)).await;
    world.wait_for_counts(&unchanged, DEFAULT_TIMEOUT).await;
    let change_counts = async {
        for round in 0..40 {
            world.play(&[&format!("move-{:02}", round % 7), "move-all"]).await;
        }
    };
    let paginate = async {
        for _ in 0..5 {
            let listed: Counts = list_all(&world, 3).await.into_iter().collect();
            let missed: Vec<_> =
                unchanged.keys().filter(|one| !listed.contains_key(*one)).collect();
            assert!(missed.is_empty(), "{missed:?}");
        }
    };
    tokio::join!(change_counts, paginate);
}
