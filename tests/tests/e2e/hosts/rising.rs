//! What rises, over each window.

use std::time::Duration;

use serde_json::{Value, json};

use super::{get, now, put_sighting, quiet, sighting, store_samples};

async fn rising(world: &mayfly_tests::World, host: &str, window: &str) -> Value {
    let path = format!("/v1/hosts/{host}/rising{window}");
    get(world, &path).await.expect(200)
}

#[tokio::test]
async fn it_is_compared_to_the_newest_sample_that_is_old_enough_and_not_more_than_twice_as_old() {
    let world = quiet().await;
    let (host, at) = ("windows.example.org", now());
    let ago = |seconds| at.before(Duration::from_secs(seconds));
    let samples = [(90, 1), (62, 2), (59, 3), (1_000, 4), (7_200, 5), (172_801, 6)];
    let samples = samples.map(|(seconds, visitors)| (ago(seconds), vec![("/a", visitors)]));
    store_samples(&world, host, &samples).await;
    put_sighting(&world, &sighting(host, at, &[("/a", 10, Some(8)), ("/new", 1, None)])).await;
    let wanted = [
        ("", "5s", Some((5, 2))),
        ("?window=5s", "5s", Some((5, 2))),
        ("?window=1m", "1m", Some((62, 8))),
        // The newest that is older than five minutes is from far back.
        ("?window=5m", "5m", None),
        ("?window=1h", "1h", Some((7_200, 5))),
        ("?window=24h", "24h", None),
    ];
    for (query, window, compared) in wanted {
        let rising = rising(&world, host, query).await;
        assert_eq!((&rising["window"], &rising["sampled_at"]), (&json!(window), &json!(at)));
        assert_eq!(
            rising["compared_to"],
            json!(compared.map(|(seconds, _)| ago(seconds))),
            "{query}"
        );
        let pages = rising["pages"].as_array().expect("there are pages");
        let page =
            |path: &str| pages.iter().find(|page| page["path"] == path).expect("it is there");
        assert_eq!(page("/a")["change"], json!(compared.map(|(_, change)| change)), "{query}");
        assert_eq!(page("/a")["score"].is_null(), compared.is_none());
        assert_eq!(page("/a")["title"], "Title of /a");
        assert!(page("/new")["change"].is_null() && page("/new")["rate"].is_null());
    }
}

#[tokio::test]
async fn the_page_whose_growth_is_least_by_chance_comes_first() {
    let world = quiet().await;
    let (host, at) = ("order.example.org", now());
    let pages = [("/big", 5_150, Some(5_000)), ("/less", 50, Some(150)), ("/news", 150, Some(50))];
    put_sighting(&world, &sighting(host, at, &pages)).await;
    let rising = rising(&world, host, "").await;
    let shown = rising["pages"].as_array().expect("there are pages").iter();
    let shown: Vec<_> = shown
        .map(|page| json!([page["path"], page["change"], page["rate"], page["score"]]))
        .collect();
    let wanted = [
        json!(["/news", 100, 2.0, 11.38]),
        json!(["/big", 150, 0.03, 2.11]),
        json!(["/less", -100, -0.667, -9.49]),
    ];
    assert_eq!(shown, wanted);
}
