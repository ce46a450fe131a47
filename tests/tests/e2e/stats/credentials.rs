//! Missing, invalid and late credentials.

use std::{fs, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, World, with_slack};

use super::{
    get_link, read_object, setup, start_process, wait_for_first, wait_for_newer, wait_for_readyz,
};

#[tokio::test(flavor = "multi_thread")]
async fn publisher_without_valid_credentials_is_not_ready_and_names_the_setting() {
    let world = setup(0, "1s").start().await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("AWS_ACCESS_KEY_ID", "")], "AWS_ACCESS_KEY_ID is not set"),
        (&[("AWS_SECRET_ACCESS_KEY", "")], "AWS_SECRET_ACCESS_KEY is not set"),
        (&[("AWS_ACCESS_KEY_ID", "nobody")], "AWS_ACCESS_KEY_ID is unknown"),
        (&[("AWS_SECRET_ACCESS_KEY", "wrong")], "AWS_SECRET_ACCESS_KEY is wrong"),
    ];
    for (settings, text) in cases {
        let process = start_process(&world, Service::StatsPublisher, settings).await;
        wait_for_readyz(&world, &process, 503, &["\"s3_credentials\"", text]).await;
        let live = world.http.get(format!("http://{}/livez", process.admin));
        assert_eq!(ApiResponse::send(live).await.status, 200);
        let (status, elapsed, log) = process.terminate(Duration::from_secs(10)).await;
        assert!(status.success(), "{status} after {elapsed:?}");
        let secret = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
        assert!(!log.iter().any(|line| line.contains(&secret)), "{log:?}");
        assert!(log.iter().any(|line| line.contains(text)), "{log:?}");
    }
    assert!(read_object(&world).is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_with_invalid_credentials_does_not_block_the_leader() {
    let world = setup(1, "1s").start().await;
    let first = wait_for_first(&world).await;
    let invalid = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    let standby = start_process(&world, Service::StatsPublisher, &invalid).await;
    wait_for_readyz(&world, &standby, 503, &["AWS_SECRET_ACCESS_KEY is wrong"]).await;
    let second = wait_for_newer(&world, &first, with_slack(Duration::from_secs(3))).await;
    wait_for_newer(&world, &second, with_slack(Duration::from_secs(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_file_is_reloaded_without_restart() {
    let world = setup(0, "1s").start().await;
    let file = world.spec.root.join("credentials");
    let path = file.to_str().expect("valid UTF-8");
    let settings = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SHARED_CREDENTIALS_FILE", path),
    ];
    let process = start_process(&world, Service::StatsPublisher, &settings).await;
    wait_for_readyz(&world, &process, 503, &["AWS_ACCESS_KEY_ID is not set"]).await;
    write_credentials(&world, path, "wrong");
    wait_for_readyz(&world, &process, 503, &["AWS_SECRET_ACCESS_KEY is wrong"]).await;
    let valid_secret = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
    write_credentials(&world, path, &valid_secret);
    wait_for_readyz(&world, &process, 200, &["\"status\":\"ready\""]).await;
    wait_for_first(&world).await;
}

/// Writes a credentials file with this secret.
pub fn write_credentials(world: &World, path: &str, secret: &str) {
    let key = world.stack.env().get("AWS_ACCESS_KEY_ID").to_owned();
    let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    fs::write(path, text).expect("the file is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_api_without_credentials_serves_everything_except_statistics() {
    let world = setup(1, "1h").start().await;
    wait_for_first(&world).await;
    let none = [("AWS_ACCESS_KEY_ID", "")];
    let process = start_process(&world, Service::ListApi, &none).await;
    let text = ["\"status\":\"degraded\"", "AWS_ACCESS_KEY_ID is not set"];
    wait_for_readyz(&world, &process, 200, &text).await;
    let response = get_link(&process.url("/v1/stats")).await;
    response.expect_problem(503, "unavailable");
    assert!(!response.text().contains("AWS_"), "internal settings are not exposed");
    let listed = ApiResponse::send(world.http.get(process.url("/v1/messages"))).await;
    listed.expect_status(200);
    let (status, _, log) = process.terminate(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}");
    assert!(log.iter().any(|line| line.contains("AWS_ACCESS_KEY_ID is not set")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_s3_degrades_the_publisher() {
    let world = setup(0, "1s").start().await;
    let unreachable = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let process = start_process(&world, Service::StatsPublisher, &unreachable).await;
    let text = ["\"status\":\"degraded\"", "S3 is unavailable"];
    wait_for_readyz(&world, &process, 200, &text).await;
}
