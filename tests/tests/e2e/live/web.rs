//! What ws-fanout serves to browsers beside the feeds.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Answer, World};
use reqwest::Method;

use super::shared;

async fn get(world: &World, path: &str) -> Answer {
    Answer::of(world.http.get(world.url(Service::WsFanout, path))).await
}

#[tokio::test]
async fn the_client_is_readable_from_every_origin() {
    let world = shared().await;
    for path in ["/mayfly.js", "/mayfly.d.ts"] {
        let request = world.http.get(world.url(Service::WsFanout, path));
        let answer = Answer::of(request.header("origin", "https://any.example")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    let kind = get(&world, "/mayfly.js").await;
    assert!(kind.header("content-type").starts_with("text/javascript"), "{kind:?}");
}

#[tokio::test]
async fn the_page_is_html_under_a_policy_and_ignores_its_query() {
    let world = shared().await;
    let page = get(&world, "/?utm_source=somewhere").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(!page.header("cache-control").is_empty());
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"), "{policy}");
    let script = get(&world, "/mayfly.js?v=1").await;
    assert_eq!(script.status, 200, "files ignore a query, too");
}

#[tokio::test]
async fn the_configuration_names_the_public_urls() {
    let world = shared().await;
    let answer = get(&world, "/config.json").await;
    let config = answer.expect(200);
    assert!(!answer.header("cache-control").is_empty());
    let text = config.to_string();
    for service in [Service::IngestApi, Service::ListApi, Service::WsFanout] {
        assert!(text.contains(&world.url(service, "")), "{service}: {text}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body_and_leaves_nothing_open() {
    let world = shared().await;
    let head = async |path: &str| {
        let url = world.url(Service::WsFanout, path);
        Answer::of(world.http.head(url).timeout(Duration::from_secs(5))).await
    };
    for path in ["/", "/mayfly.js", "/mayfly.d.ts", "/config.json", "/health", "/v1/events"] {
        let answer = head(path).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    assert_eq!(head("/v1/live").await.status, 426);
    let options = world.http.request(Method::OPTIONS, world.url(Service::WsFanout, "/v1/events"));
    assert_eq!(Answer::of(options).await.status, 204);
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there_are_problems() {
    let world = shared().await;
    get(&world, "/nowhere").await.expect_problem(404, "not_found");
    for path in ["/v1/events", "/mayfly.js", "/config.json"] {
        let request = world.http.request(Method::PUT, world.url(Service::WsFanout, path));
        Answer::of(request).await.expect_problem(405, "method_not_allowed");
    }
    let health = get(&world, "/health").await;
    assert_eq!(health.expect(200)["status"], "ok");
}
