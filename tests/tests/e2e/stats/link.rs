//! The way to the snapshot.

use std::collections::HashMap;

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, World, eventually};
use reqwest::Method;

use super::{find_link, setup, start_own, wait_for_link};

const PATHS: [&str; 3] = ["/v1/stats", "/stat/get/", "/stat/get"];

async fn start() -> World {
    let world = setup(1, "1h").start().await;
    wait_for_link(&world).await;
    world
}

/// The parameters of a URL.
fn parameters(url: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(url).expect("it is a URL");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_leads_to_a_url_that_is_signed_for_five_minutes_and_not_cached() {
    let world = start().await;
    for path in PATHS {
        let answer = find_link(&world.list(path)).await;
        assert_eq!(answer.status, 302, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let location = answer.header("location");
        let env = world.stack.env();
        let object = format!("{}/{}/{}?", env.s3_endpoint(), env.s3_bucket(), env.s3_key());
        assert!(location.starts_with(&object), "{location}");
        let parameters = parameters(location);
        assert_eq!(parameters["X-Amz-Expires"], "300", "{location}");
        assert_eq!(parameters["X-Amz-SignedHeaders"], "host", "any client may fetch it");
        for service in [Service::IngestApi, Service::ListApi] {
            let options = world.http.request(Method::OPTIONS, world.url(service, path));
            assert_eq!(Answer::of(options).await.header("allow"), "GET, HEAD, OPTIONS");
        }
        let post = Answer::of(world.http.post(world.list(path))).await;
        post.expect_problem(405, "method_not_allowed");
        let head = Answer::of(world.http.head(world.list(path))).await;
        assert!(head.body.is_empty(), "HEAD is answered as GET, and S3 refuses what is not signed");
    }
    let unknown = Answer::of(world.http.get(world.list("/v1/stats?x=1"))).await;
    unknown.expect_problem(400, "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_refuses_a_link_that_was_changed() {
    let world = start().await;
    let link = find_link(&world.list("/v1/stats")).await.header("location").to_owned();
    assert_eq!(Answer::of(world.http.get(&link)).await.status, 200);
    let signature = parameters(&link)["X-Amz-Signature"].clone();
    let other = signature.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    let changed: [(&str, String, String); 3] = [
        ("the signature", signature, other),
        ("how long it is good", "X-Amz-Expires=300".into(), "X-Amz-Expires=301".into()),
        ("the object", "messystats_key".into(), "messystats_kex".into()),
    ];
    for (what, from, to) in changed {
        assert!(link.contains(&from), "{link}");
        let answer = Answer::of(world.http.get(link.replace(&from, &to))).await;
        assert_eq!(answer.status, 403, "{what} was changed: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_snapshot_it_is_unavailable_and_says_when_to_come_back() {
    let world = setup(0, "1h").start().await;
    for path in PATHS {
        let answer = find_link(&world.list(path)).await;
        answer.expect_problem(503, "unavailable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_endpoint_and_the_public_url_are_where_callers_are_led() {
    let world = start().await;
    let endpoint = [("MAYFLY_STATS__PUBLIC_ENDPOINT", "https://s3.example.org")];
    let process = start_own(&world, Service::ListApi, &endpoint).await;
    let location = eventually(PATIENCE, "it is signed", async || {
        let answer = find_link(&process.url("/v1/stats")).await;
        if answer.status == 302 { Ok(answer.header("location").to_owned()) } else { Err(answer) }
    })
    .await;
    let object = "https://s3.example.org/messystats/messystats_key?";
    assert!(location.starts_with(object), "{location}");

    let fixed = "https://cdn.example.org/stats.json";
    let settings =
        [("MAYFLY_STATS__PUBLIC_URL", fixed), ("AWS_ACCESS_KEY_ID", ""), ("AWS_ENDPOINT_URL", "")];
    let process = start_own(&world, Service::ListApi, &settings).await;
    let answer = find_link(&process.url("/stat/get/")).await;
    assert_eq!((answer.status, answer.header("location")), (302, fixed));
}
