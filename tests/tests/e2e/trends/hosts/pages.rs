//! The visitors of a host's pages.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, ServiceProcess};
use serde_json::json;
use tokio::time::Instant;

use super::{get, now, put_trend, shared_world, trend_snapshot};

#[tokio::test]
async fn visitors_are_counted_on_request() {
    let world = shared_world().await;
    let visit = |path: &str, visitor: &str| json!({"host": "Pages.example.org", "path": path, "title": "A page", "visitor": visitor});
    let visits = json!([visit("/a", "1"), visit("/a", "2"), visit("/a", "2"), visit("/b", "1")]);
    assert_eq!(world.post("/v1/visits", &visits).await.status(), 202);
    let pages = get(&world, "/v1/hosts/PAGES.example.org/pages").await.expect_status(200);
    let page =
        |path: &str, visitors: u64| json!({"path": path, "title": "A page", "visitors": visitors});
    assert_eq!(pages["pages"], json!([page("/a", 2), page("/b", 1)]));
    assert_eq!(
        (&pages["host"], &pages["visitors"], &pages["exact"]),
        (&json!("pages.example.org"), &json!(2), &json!(true))
    );
}

#[tokio::test]
async fn unknown_host_has_no_visitors() {
    let world = shared_world().await;
    let pages = get(&world, "/v1/hosts/nobody.example.org/pages").await.expect_status(200);
    assert_eq!((&pages["visitors"], &pages["pages"]), (&json!(0), &json!([])));
    let rising =
        get(&world, "/v1/hosts/nobody.example.org/rising?window=1h").await.expect_status(200);
    assert_eq!((&rising["compared_to"], &rising["window"]), (&json!(null), &json!("1h")));
    assert_eq!(rising["pages"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_count_a_host_once_per_second() {
    let world = shared_world().await;
    let mut counted = BTreeSet::new();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2_500) {
        let all = (0..100).map(|_| get(&world, "/v1/hosts/many.example.org/pages"));
        for response in join_all(all).await {
            counted.insert(response.expect_status(200)["sampled_at"].to_string());
        }
    }
    let max = started.elapsed().as_secs() + 1;
    assert!((2..=max).contains(&(counted.len() as u64)), "{counted:?}");
}

#[tokio::test]
async fn other_source_returns_the_last_snapshot_or_404() {
    let world = shared_world().await;
    let settings = [("MAYFLY_RISING__SOURCE", "chartbeat")];
    let list_api = ServiceProcess::start_with(&world, Service::ListApi, &settings).await;
    let get = async |path: &str| ApiResponse::send(world.http.get(list_api.url(path))).await;
    for path in ["pages", "rising"] {
        let unseen = get(&format!("/v1/hosts/unseen.example.org/{path}")).await;
        unseen.expect_problem(404, "not_found");
    }
    let at = now();
    put_trend(&world, &trend_snapshot("seen.example.org", at, &[("/a", 5, Some(3))])).await;
    let pages = get("/v1/hosts/seen.example.org/pages").await.expect_status(200);
    let page = json!({"path": "/a", "title": "Title of /a", "visitors": 5});
    let expected = json!({"host": "seen.example.org", "sampled_at": at, "visitors": 7, "exact": true,
                       "pages": [page]});
    assert_eq!(pages, expected);
}

#[tokio::test]
async fn invalid_parameter_is_reported() {
    let world = shared_world().await;
    let wrong = [
        ("/v1/hosts/a%20b/pages", "host"),
        ("/v1/hosts/a.org/pages?window=5s", "window"),
        ("/v1/hosts/a.org/rising?window=2m", "window"),
        ("/v1/hosts/a%2Fb/rising", "host"),
        ("/v1/hosts/a.org/history", "path"),
        ("/v1/hosts/a.org/history?path=%0A", "path"),
        ("/v1/hosts/a.org/history?path=/&from=yesterday", "from"),
        ("/v1/hosts/a.org/history?path=/&to=2026-11-20", "to"),
        (
            "/v1/hosts/a.org/history?path=/&from=2026-11-20T00:00:01Z&to=2026-11-20T00:00:00Z",
            "from",
        ),
        (
            "/v1/hosts/a.org/history?path=/&from=2025-10-15T23:59:59Z&to=2026-11-20T00:00:00Z",
            "from",
        ),
    ];
    for (path, field) in wrong {
        assert_eq!(get(&world, path).await.expect_problem(400, "invalid_field"), [field], "{path}");
    }
    for path in ["/v1/hosts/a.org/pages", "/api/v1.0/increasingconcurrents"] {
        let rejected = ApiResponse::send(world.http.post(world.list_url(path))).await;
        rejected.expect_problem(405, "method_not_allowed");
        assert_eq!(rejected.header("allow"), "GET, HEAD, OPTIONS");
    }
}
