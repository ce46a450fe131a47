//! Rising pages by window.

use std::time::Duration;

use serde_json::{Value, json};

use super::{get, now, put_trend, shared_world, store_samples, trend_snapshot};

async fn rising(world: &mayfly_tests::World, host: &str, window: &str) -> Value {
    let path = format!("/v1/hosts/{host}/rising{window}");
    get(world, &path).await.expect_status(200)
}

#[tokio::test]
async fn comparison_uses_the_newest_sample_between_one_and_two_windows_old() {
    let world = shared_world().await;
    let (host, at) = ("windows.example.org", now());
    let ago = |seconds| at.minus(Duration::from_secs(seconds));
    let samples = [(90, 1), (62, 2), (59, 3), (1_000, 4), (7_200, 5), (172_801, 6)];
    let samples = samples.map(|(seconds, visitors)| (ago(seconds), vec![("/a", visitors)]));
    store_samples(&world, host, &samples).await;
    put_trend(&world, &trend_snapshot(host, at, &[("/a", 10, Some(8)), ("/new", 1, None)])).await;
    let expected = [
        ("", "5s", Some((5, 2))),
        ("?window=5s", "5s", Some((5, 2))),
        ("?window=1m", "1m", Some((62, 8))),
        // The newest sample older than five minutes is too old.
        ("?window=5m", "5m", None),
        ("?window=1h", "1h", Some((7_200, 5))),
        ("?window=24h", "24h", None),
    ];
    for (query, window, comparison) in expected {
        let rising = rising(&world, host, query).await;
        assert_eq!((&rising["window"], &rising["sampled_at"]), (&json!(window), &json!(at)));
        assert_eq!(
            rising["compared_to"],
            json!(comparison.map(|(seconds, _)| ago(seconds))),
            "{query}"
        );
        let pages = rising["pages"].as_array().expect("`pages` is set");
        let page = |path: &str| {
            pages.iter().find(|page| page["path"] == path).expect("the page is listed")
        };
        assert_eq!(page("/a")["change"], json!(comparison.map(|(_, change)| change)), "{query}");
        assert_eq!(page("/a")["score"].is_null(), comparison.is_none());
        assert_eq!(page("/a")["title"], "Title of /a");
        assert!(page("/new")["change"].is_null() && page("/new")["rate"].is_null());
    }
}

#[tokio::test]
async fn pages_are_ordered_by_significance_of_growth() {
    let world = shared_world().await;
    let (host, at) = ("order.example.org", now());
    let pages = [("/big", 5_150, Some(5_000)), ("/less", 50, Some(150)), ("/news", 150, Some(50))];
    put_trend(&world, &trend_snapshot(host, at, &pages)).await;
    let rising = rising(&world, host, "").await;
    let listed = rising["pages"].as_array().expect("`pages` is set").iter();
    let listed: Vec<_> = listed
        .map(|page| json!([page["path"], page["change"], page["rate"], page["score"]]))
        .collect();
    let expected = [
        json!(["/news", 100, 2.0, 11.38]),
        json!(["/big", 150, 0.03, 2.11]),
        json!(["/less", -100, -0.667, -9.49]),
    ];
    assert_eq!(listed, expected);
}
