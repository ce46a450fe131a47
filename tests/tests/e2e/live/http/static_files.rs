//! The web page, the client and the configuration for browsers.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, World};
use reqwest::Method;

use crate::live::shared;

async fn get(world: &World, path: &str) -> ApiResponse {
    ApiResponse::send(world.http.get(world.url(Service::WsFanout, path))).await
}

#[tokio::test]
async fn client_is_readable_from_every_origin() {
    let world = shared().await;
    for path in ["/mayfly.js", "/mayfly.mjs", "/mayfly.d.ts", "/mayfly.d.mts"] {
        let request = world.http.get(world.url(Service::WsFanout, path));
        let answer = ApiResponse::send(request.header("origin", "https://any.example")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    for path in ["/mayfly.js", "/mayfly.mjs"] {
        let kind = get(&world, path).await;
        assert!(kind.header("content-type").starts_with("text/javascript"), "{kind:?}");
    }
}

#[tokio::test]
async fn page_has_a_content_security_policy_and_ignores_its_query() {
    let world = shared().await;
    let page = get(&world, "/?utm_source=somewhere").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(!page.header("cache-control").is_empty());
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"), "{policy}");
    let script = get(&world, "/mayfly.js?v=1").await;
    assert_eq!(script.status, 200, "files ignore a query as well");
}

#[tokio::test]
async fn config_json_contains_the_public_urls() {
    let world = shared().await;
    let answer = get(&world, "/config.json").await;
    let config = answer.expect_status(200);
    assert!(!answer.header("cache-control").is_empty());
    let text = config.to_string();
    for service in [Service::IngestApi, Service::ListApi, Service::WsFanout] {
        assert!(text.contains(&world.url(service, "")), "{service}: {text}");
    }
}

#[tokio::test]
async fn head_returns_no_body_and_closes_the_connection() {
    let world = shared().await;
    let head = async |path: &str| {
        let url = world.url(Service::WsFanout, path);
        ApiResponse::send(world.http.head(url).timeout(Duration::from_secs(5))).await
    };
    for path in ["/", "/mayfly.js", "/mayfly.d.ts", "/config.json", "/health", "/v1/events"] {
        let answer = head(path).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    assert_eq!(head("/v1/live").await.status, 426);
    let options = world.http.request(Method::OPTIONS, world.url(Service::WsFanout, "/v1/events"));
    assert_eq!(ApiResponse::send(options).await.status, 204);
}

#[tokio::test]
async fn unknown_methods_and_paths_return_problems() {
    let world = shared().await;
    get(&world, "/nowhere").await.expect_problem(404, "not_found");
    for path in ["/v1/events", "/mayfly.js", "/config.json"] {
        let request = world.http.request(Method::PUT, world.url(Service::WsFanout, path));
        ApiResponse::send(request).await.expect_problem(405, "method_not_allowed");
    }
    let health = get(&world, "/health").await;
    assert_eq!(health.expect_status(200)["status"], "ok");
}
