//! The redirect to the snapshot.

use std::collections::HashMap;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, World, eventually};
use reqwest::Method;

use super::{get_link, setup, start_process, wait_for_link};

const PATHS: [&str; 3] = ["/v1/stats", "/stat/get/", "/stat/get"];

async fn start() -> World {
    let world = setup(1, "1h").start().await;
    wait_for_link(&world).await;
    world
}

/// Returns the query parameters of a URL.
fn parameters(url: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(url).expect("a valid URL");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_redirects_to_a_url_signed_for_five_minutes() {
    let world = start().await;
    for path in PATHS {
        let response = get_link(&world.list_url(path)).await;
        assert_eq!(response.status, 302, "{path}");
        assert_eq!(response.header("cache-control"), "no-store");
        let location = response.header("location");
        let env = world.stack.env();
        let object = format!("{}/{}/{}?", env.s3_endpoint(), env.s3_bucket(), env.s3_key());
        assert!(location.starts_with(&object), "{location}");
        let parameters = parameters(location);
        assert_eq!(parameters["X-Amz-Expires"], "300", "{location}");
        assert_eq!(parameters["X-Amz-SignedHeaders"], "host", "only the host is signed");
        for service in [Service::IngestApi, Service::ListApi] {
            let options = world.http.request(Method::OPTIONS, world.url(service, path));
            assert_eq!(ApiResponse::send(options).await.header("allow"), "GET, HEAD, OPTIONS");
        }
        let post = ApiResponse::send(world.http.post(world.list_url(path))).await;
        post.expect_problem(405, "method_not_allowed");
        let head = ApiResponse::send(world.http.head(world.list_url(path))).await;
        assert!(
            head.body.is_empty(),
            "HEAD is redirected like GET, and S3 rejects the signature of another method"
        );
    }
    let unknown = ApiResponse::send(world.http.get(world.list_url("/v1/stats?x=1"))).await;
    unknown.expect_problem(400, "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_rejects_a_modified_link() {
    let world = start().await;
    let link = get_link(&world.list_url("/v1/stats")).await.header("location").to_owned();
    assert_eq!(ApiResponse::send(world.http.get(&link)).await.status, 200);
    let signature = parameters(&link)["X-Amz-Signature"].clone();
    let other = signature.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    let changed: [(&str, String, String); 3] = [
        ("the signature", signature, other),
        ("the expiry", "X-Amz-Expires=300".into(), "X-Amz-Expires=301".into()),
        ("the object", "messystats_key".into(), "messystats_kex".into()),
    ];
    for (part, from, to) in changed {
        assert!(link.contains(&from), "{link}");
        let response = ApiResponse::send(world.http.get(link.replace(&from, &to))).await;
        assert_eq!(response.status, 403, "{part} was modified: {}", response.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_snapshot_returns_503_with_retry_after() {
    let world = setup(0, "1h").start().await;
    for path in PATHS {
        let response = get_link(&world.list_url(path)).await;
        response.expect_problem(503, "unavailable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_uses_the_public_endpoint_or_public_url() {
    let world = start().await;
    let endpoint = [("MAYFLY_STATS__PUBLIC_ENDPOINT", "https://s3.example.org")];
    let process = start_process(&world, Service::ListApi, &endpoint).await;
    let location = eventually(DEFAULT_TIMEOUT, "a link is returned", async || {
        let response = get_link(&process.url("/v1/stats")).await;
        if response.status == 302 {
            Ok(response.header("location").to_owned())
        } else {
            Err(response)
        }
    })
    .await;
    let object = "https://s3.example.org/messystats/messystats_key?";
    assert!(location.starts_with(object), "{location}");

    let fixed = "https://cdn.example.org/stats.json";
    let settings =
        [("MAYFLY_STATS__PUBLIC_URL", fixed), ("AWS_ACCESS_KEY_ID", ""), ("AWS_ENDPOINT_URL", "")];
    let process = start_process(&world, Service::ListApi, &settings).await;
    let response = get_link(&process.url("/stat/get/")).await;
    assert_eq!((response.status, response.header("location")), (302, fixed));
}
