//! Increasing pages with Chartbeat as the source: how `list-api` reports the results of upstream
//! calls, which tests write to Redis.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_core::{KeyHash, Timestamp};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, ServiceProcess, World, eventually};
use serde_json::json;
use tokio::time::Instant;

use super::{now, put_key, put_trend, redis, shared_world, trend_snapshot};

const SETTINGS: [(&str, &str); 1] = [("MAYFLY_RISING__SOURCE", "chartbeat")];

async fn start(world: &World) -> ServiceProcess {
    ServiceProcess::start_with(world, Service::ListApi, &SETTINGS).await
}

async fn get_increases(
    world: &World,
    list_api: &ServiceProcess,
    key: &str,
    host: &str,
) -> ApiResponse {
    let path = format!("/api/v1.0/increasingconcurrents?apikey={key}&host={host}");
    ApiResponse::send(world.http.get(list_api.url(&path))).await
}

/// Records a failed upstream call.
async fn put_failure(world: &World, host: &str, at: Timestamp, failure: &str) {
    let key = world.key(&format!("rising:source:{host}"));
    let at = at.as_millis().to_string();
    redis(world, &["HSET", &key, "failed_at", &at, "failure", failure]).await;
}

async fn is_requested(world: &World, host: &str) -> bool {
    let mut redis = world.redis().await;
    let mut score = redis::cmd("ZSCORE");
    score.arg(world.key("rising:requested")).arg(host);
    let score: Option<f64> = score.query_async(&mut redis).await.expect("Redis responds");
    score.is_some()
}

fn ago(seconds: u64) -> Timestamp {
    now().minus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn snapshot_of_the_last_three_seconds_is_returned_without_a_request() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let host = "fresh.up.example.org";
    put_key(&world, "fresh", &[host], false).await;
    put_trend(&world, &trend_snapshot(host, now(), &[("/a", 3, Some(1))])).await;
    let list = get_increases(&world, &list_api, "fresh", host).await;
    assert_eq!(list.expect_status(200)[0]["change"], json!(2));
    assert!(!list.headers.contains_key("age"));
    assert!(!is_requested(&world, host).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_wait_for_one_new_snapshot() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let host = "later.up.example.org";
    put_key(&world, "later", &[host], false).await;
    put_trend(&world, &trend_snapshot(host, ago(10), &[("/a", 3, Some(1))])).await;
    let requests = join_all((0..50).map(|_| get_increases(&world, &list_api, "later", host)));
    let publish = async {
        eventually(Duration::from_secs(3), "the host is requested", async || {
            if is_requested(&world, host).await { Ok(()) } else { Err("not requested") }
        })
        .await;
        put_trend(&world, &trend_snapshot(host, now(), &[("/a", 9, Some(3))])).await;
    };
    let (responses, ()) = tokio::join!(requests, publish);
    for response in responses {
        assert_eq!(response.expect_status(200)[0]["change"], json!(6));
    }
}

#[tokio::test]
async fn failed_source_returns_the_snapshot_of_the_last_minute_as_stale() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let (host, old) = ("last.up.example.org", "old.up.example.org");
    put_key(&world, "last", &[host, old], false).await;
    put_trend(&world, &trend_snapshot(host, ago(30), &[("/a", 3, Some(1))])).await;
    put_failure(&world, host, now(), "failed").await;
    let last = get_increases(&world, &list_api, "last", host).await;
    assert_eq!(last.expect_status(200)[0]["change"], json!(2));
    assert_eq!(last.header("mayfly-stale"), "true");
    let age: u64 = last.header("age").parse().expect("a number");
    assert!((30..=32).contains(&age), "{age}");

    put_trend(&world, &trend_snapshot(old, ago(61), &[("/a", 3, Some(1))])).await;
    put_failure(&world, old, now(), "failed").await;
    get_increases(&world, &list_api, "last", old).await.expect_problem(502, "upstream_failed");
}

#[tokio::test]
async fn missing_publisher_is_reported_within_five_seconds() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let host = "silent.up.example.org";
    put_key(&world, "silent", &[host], false).await;
    put_trend(&world, &trend_snapshot(host, ago(20), &[("/a", 3, Some(1))])).await;
    let started = Instant::now();
    let known = get_increases(&world, &list_api, "silent", host);
    let (known, unknown) = tokio::join!(known, get_increases(&world, &list_api, "unknown", host));
    assert_eq!(known.expect_status(200)[0]["change"], json!(2));
    assert_eq!(known.header("mayfly-stale"), "true");
    // A snapshot is only returned for keys that were accepted before.
    unknown.expect_problem(502, "upstream_failed");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn key_rejected_by_the_source_returns_400_and_revoked_key_is_never_tried() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let host = "refuses.up.example.org";
    put_key(&world, "refused", &[host], false).await;
    put_key(&world, "was-revoked", &[host], true).await;
    put_trend(&world, &trend_snapshot(host, ago(20), &[("/a", 3, Some(1))])).await;
    put_failure(&world, host, now(), "refused").await;
    get_increases(&world, &list_api, "refused", host).await.expect_problem(400, "upstream_refused");
    get_increases(&world, &list_api, "was-revoked", host).await.expect_problem(401, "unauthorized");
    assert!(!is_requested(&world, host).await);
    let rejected_key = format!("rising:refused:{}:{host}", KeyHash::from_key("stranger"));
    redis(&world, &["SET", &world.key(&rejected_key), "1"]).await;
    get_increases(&world, &list_api, "stranger", host)
        .await
        .expect_problem(400, "upstream_refused");
    get_increases(&world, &list_api, "", host).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn key_accepted_by_the_source_gets_a_response() {
    let world = shared_world().await;
    let list_api = start(&world).await;
    let host = "accepts.up.example.org";
    let requests = get_increases(&world, &list_api, "stranger-2", host);
    let accept = async {
        eventually(Duration::from_secs(3), "the host is requested", async || {
            if is_requested(&world, host).await { Ok(()) } else { Err("not requested") }
        })
        .await;
        put_trend(&world, &trend_snapshot(host, now(), &[("/a", 9, None)])).await;
        let keys = world.key(&format!("rising:keys:{host}"));
        redis(&world, &["ZADD", &keys, "1", KeyHash::from_key("stranger-2").as_str()]).await;
    };
    let (response, ()) = tokio::join!(requests, accept);
    assert_eq!(response.expect_status(200), json!([]));
}
