//! Counts are listed, the highest first, page by page.

use mayfly_stack::Service;
use mayfly_tests::{Answer, Counts, PATIENCE, Setup, World, counts_of};
use serde_json::Value;

use super::{plays_of, videos};

/// All pages of so many, one after the other, as they are linked.
async fn walk(world: &World, limit: usize) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut url = world.list(&format!("/v1/plays?limit={limit}"));
    loop {
        let answer = Answer::of(world.http.get(&url)).await;
        let page = answer.expect(200);
        let items = counts_of(&page["items"]);
        assert!(items.len() <= limit);
        all.extend(items);
        let link = answer.headers.get("link").map(|link| link.to_str().expect("text").to_owned());
        assert_eq!(link.is_some(), page["has_more"] == true);
        let Some(link) = link else { return all };
        url =
            link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("a link").0.into();
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        assert!(url.ends_with(cursor) && cursor.len() <= 256, "{url}");
    }
}

/// Some of every kind: ties, one count each, ids that are long and begin alike.
fn mixed() -> Counts {
    let long = "🦋".repeat(100);
    let mut counts = videos("tie", 30, 3);
    counts.extend((1..10).map(|n| (format!("own-{n}"), n)));
    counts.extend((0..12).map(|n| (format!("{long}{n:02}"), 3)));
    counts.extend((0..5).map(|n| (format!("{long}{n:02}x"), 2)));
    counts
}

fn in_order(counts: &Counts) -> Vec<(String, u64)> {
    let mut all: Vec<_> = counts.clone().into_iter().collect();
    all.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(b.cmp(a)));
    all
}

#[tokio::test]
async fn pages_of_every_size_give_each_video_once_in_order() {
    let world = Setup::new().start().await;
    let empty = Answer::of(world.http.get(world.list("/v1/plays"))).await.expect(200);
    assert_eq!((&empty["items"], &empty["next_cursor"]), (&Value::Array(vec![]), &Value::Null));
    let counts = mixed();
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    for limit in [1, 2, 3, 7, 50, 1_000] {
        assert_eq!(walk(&world, limit).await, in_order(&counts), "{limit}");
    }
    let (_, page) = world.get("/v1/plays").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(50), "50 are a page by default");
}

#[tokio::test]
async fn where_redis_does_not_know_all_counts_the_same_pages_come_from_postgres() {
    let world = Setup::new().start().await;
    let counts = mixed();
    world.post_plays(&plays_of(&counts)).await;
    world.until_counts_are(&counts, PATIENCE).await;
    // Nobody shows them again while there is no worker.
    world.stack.stop(Service::PersistWorker).await.expect("it stops");
    let mut redis = world.redis().await;
    let mut forget = redis::cmd("DEL");
    forget.arg(world.key("ledger")).arg(world.key("plays:counts"));
    forget.exec_async(&mut redis).await.expect("Redis answers");
    for limit in [1, 3, 1_000] {
        assert_eq!(walk(&world, limit).await, in_order(&counts), "{limit}");
    }
    world.until_counted("own-9", 9).await;
    assert_eq!(world.get("/v1/plays/never").await.0, 404);
}

#[tokio::test]
async fn while_counts_move_a_walk_misses_no_video_that_rests() {
    let world = Setup::new().start().await;
    let resting = videos("rest", 40, 2);
    world.post_plays(&plays_of(&resting)).await;
    world.until_counts_are(&resting, PATIENCE).await;
    let moving = async {
        for round in 0..40 {
            world.play(&[&format!("move-{:02}", round % 7), "move-all"]).await;
        }
    };
    let walking = async {
        for _ in 0..5 {
            let met: Counts = walk(&world, 3).await.into_iter().collect();
            let missed: Vec<_> = resting.keys().filter(|one| !met.contains_key(*one)).collect();
            assert!(missed.is_empty(), "{missed:?}");
        }
    };
    tokio::join!(moving, walking);
}
