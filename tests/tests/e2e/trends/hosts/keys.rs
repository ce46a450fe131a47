//! API keys of the increasing pages, with Mayfly's own visitors.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, ServiceProcess, create_page_key, eventually};
use serde_json::json;

use super::{
    get, increases, load_keys, now, put_key, put_trend, setup, shared_world, trend_snapshot,
};

#[tokio::test]
async fn increasing_pages_are_listed_by_change() {
    let world = shared_world().await;
    put_key(&world, "good", &["inc.example.org", "first.example.org"], false).await;
    let pages = [
        ("/less", 9, Some(20)),
        ("/new", 8, None),
        ("/two", 7, Some(5)),
        ("/most", 6, Some(1)),
        ("/same", 5, Some(5)),
        ("/also", 4, Some(2)),
    ];
    put_trend(&world, &trend_snapshot("inc.example.org", now(), &pages)).await;
    let list = increases(&world, "good", "INC.example.org").await;
    let page = |path: &str, visitors: u64, change: u64| json!({"path": path, "title": format!("Title of {path}"), "visitors": visitors, "change": change});
    assert_eq!(
        list.expect_status(200),
        json!([page("/most", 6, 5), page("/two", 7, 2), page("/also", 4, 2)])
    );
    assert!(!list.headers.contains_key("age") && !list.headers.contains_key("mayfly-stale"));
    assert_eq!(list.header("content-type"), "application/json");
    assert_eq!(increases(&world, "good", "first.example.org").await.expect_status(200), json!([]));
}

#[tokio::test]
async fn missing_key_for_the_host_returns_401() {
    let world = shared_world().await;
    put_key(&world, "of-a", &["a.keys.example.org"], false).await;
    put_key(&world, "revoked", &["a.keys.example.org"], true).await;
    let path = "/api/v1.0/increasingconcurrents";
    let long = format!("?apikey={}&host=a.keys.example.org", "k".repeat(257));
    let rejected_queries = [
        "",
        "?apikey=of-a",
        "?apikey=of-a&host=",
        "?host=a.keys.example.org",
        "?apikey=&host=a.keys.example.org",
        "?apikey=of-a&host=b.keys.example.org",
        "?apikey=of-a&host=a%20b",
        "?apikey=of%0Aa&host=a.keys.example.org",
        "?apikey=nobodys&host=a.keys.example.org",
        "?apikey=revoked&host=a.keys.example.org",
        &long,
    ];
    for query in rejected_queries {
        let response = get(&world, &format!("{path}{query}")).await;
        response.expect_problem(401, "unauthorized");
        assert_eq!(response.header("www-authenticate"), "Bearer", "{query}");
    }
    let unknown = get(&world, &format!("{path}?apikey=of-a&host=a.keys.example.org&x=1")).await;
    assert_eq!(unknown.expect_problem(400, "invalid_field"), ["x"]);
    increases(&world, "of-a", "a.keys.example.org").await.expect_status(200);
}

#[tokio::test]
async fn revoked_key_is_rejected_within_a_second_by_every_instance() {
    let world = shared_world().await;
    put_key(&world, "turns", &["turns.example.org"], false).await;
    let other = ServiceProcess::start(&world, Service::ListApi).await;
    let path = "/api/v1.0/increasingconcurrents?apikey=turns&host=turns.example.org";
    let urls = [world.list_url(path), other.url(path)];
    let get_status = async |url: &String| ApiResponse::send(world.http.get(url)).await.status;
    for url in &urls {
        assert_eq!(get_status(url).await, 200);
    }
    put_key(&world, "turns", &["turns.example.org"], true).await;
    eventually(Duration::from_secs(1), "both instances reject the key", async || {
        match (get_status(&urls[0]).await, get_status(&urls[1]).await) {
            (401, 401) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn keys_are_not_rejected_before_they_are_loaded() {
    let world = setup().start().await;
    put_key(&world, "early", &["early.example.org"], false).await;
    let response = increases(&world, "early", "early.example.org").await;
    response.expect_problem(503, "unavailable");
    assert!(response.headers.contains_key("retry-after"));
    load_keys(&world, &[create_page_key("early", &["early.example.org"], false)]).await;
    increases(&world, "early", "early.example.org").await.expect_status(200);
}
