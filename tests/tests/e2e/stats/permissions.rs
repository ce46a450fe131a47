//! Credentials without the required permissions.

use std::time::{Duration, Instant};

use mayfly_core::Timestamp;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, ServiceProcess, World, eventually};
use serde_json::Value;

use super::{
    Announcements, intervals_of,
    s3_proxy::{PutMode, S3Proxy},
    setup, start_process, time_of, wait_for_first, wait_for_newer, wait_for_readyz,
};

const INTERVAL: Duration = Duration::from_secs(2);

async fn start_behind_proxy(world: &World, proxy: &S3Proxy) -> ServiceProcess {
    let endpoint = proxy.endpoint();
    start_process(world, Service::StatsPublisher, &[("AWS_ENDPOINT_URL", &endpoint)]).await
}

/// Returns the components in the readiness report of a process.
async fn read_components(world: &World, process: &ServiceProcess) -> Value {
    let url = format!("http://{}/readyz", process.admin);
    ApiResponse::send(world.http.get(url)).await.json()["parts"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_without_put_permission_stays_unready_until_it_is_granted() {
    let world = setup(0, "2s").start().await;
    let proxy = S3Proxy::start(&world, PutMode::Reject).await;
    let rejected = start_behind_proxy(&world, &proxy).await;
    wait_for_readyz(&world, &rejected, 503, &["\"s3_credentials\"", "a permission is missing"])
        .await;
    assert_eq!(read_components(&world, &rejected).await["s3"]["status"], "up", "it responds");

    let leader = start_process(&world, Service::StatsPublisher, &[]).await;
    let first = wait_for_first(&world).await;
    let announcements = Announcements::listen(&world).await;
    let mut last = first;
    let (started, before) = (Instant::now(), proxy.put_count());
    for _ in 0..3 {
        last = wait_for_newer(&world, &last, INTERVAL * 2).await;
        let url = format!("http://{}/readyz", rejected.admin);
        let response = ApiResponse::send(world.http.get(url)).await;
        assert_eq!(
            response.status,
            503,
            "the permission of another publisher does not count: {}",
            response.text()
        );
    }
    let attempts = eventually(DEFAULT_TIMEOUT, "the put is retried", async || {
        match proxy.put_count() - before {
            0 => Err(()),
            attempts => Ok(attempts),
        }
    })
    .await;
    let elapsed = started.elapsed();
    assert!(
        elapsed * 15 >= INTERVAL * 3 * u32::try_from(attempts).expect("fits in the integer type"),
        "{attempts} attempts in {elapsed:?}"
    );
    let announced = announcements.stop().await;
    let intervals = intervals_of(&announced, INTERVAL);
    let expected: Vec<i64> = (intervals[0]..).take(intervals.len()).collect();
    assert_eq!(intervals, expected, "not one snapshot in each interval");

    proxy.set(PutMode::Forward);
    wait_for_readyz(&world, &rejected, 200, &["\"status\":\"ready\""]).await;
    drop(leader);
    // This publisher can become leader.
    let last: Option<Timestamp> = time_of(&last);
    eventually(DEFAULT_TIMEOUT, "the publisher publishes", async || {
        let url = format!("http://{}/metrics", rejected.admin);
        let metrics = ApiResponse::send(world.http.get(url)).await.text();
        if metrics.contains("result=\"published\"} ") { Ok(()) } else { Err(last) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn list_api_reports_invalid_credentials_until_they_are_fixed() {
    let world = setup(1, "1h").start().await;
    wait_for_first(&world).await;
    let file = world.spec.root.join("keys");
    let path = file.to_str().expect("valid UTF-8");
    super::credentials::write_credentials(&world, path, "wrong");
    let settings = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SHARED_CREDENTIALS_FILE", path),
    ];
    let process = start_process(&world, Service::ListApi, &settings).await;
    let texts = ["\"status\":\"degraded\"", "\"s3\"", "AWS_SECRET_ACCESS_KEY is wrong"];
    wait_for_readyz(&world, &process, 200, &texts).await;
    let valid_secret = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
    super::credentials::write_credentials(&world, path, &valid_secret);
    wait_for_readyz(&world, &process, 200, &["\"status\":\"ready\""]).await;
    let response = ApiResponse::send(world.http.get(process.url("/v1/stats"))).await;
    assert_eq!(response.expect_status(200)["result"], "success");
}
