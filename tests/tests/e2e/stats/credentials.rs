//! Keys that are missing, wrong, or come later.

use std::{fs, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{Answer, World, beside_others};

use super::{
    find_link, read_object, setup, start_own, wait_for_first, wait_for_newer, wait_for_readyz,
};

#[tokio::test(flavor = "multi_thread")]
async fn without_usable_keys_a_publisher_is_not_ready_and_says_which() {
    let world = setup(0, "1s").start().await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("AWS_ACCESS_KEY_ID", "")], "AWS_ACCESS_KEY_ID is not set"),
        (&[("AWS_SECRET_ACCESS_KEY", "")], "AWS_SECRET_ACCESS_KEY is not set"),
        (&[("AWS_ACCESS_KEY_ID", "nobody")], "AWS_ACCESS_KEY_ID is not known there"),
        (&[("AWS_SECRET_ACCESS_KEY", "wrong")], "AWS_SECRET_ACCESS_KEY is wrong"),
    ];
    for (settings, words) in cases {
        let process = start_own(&world, Service::StatsPublisher, settings).await;
        wait_for_readyz(&world, &process, 503, &["\"s3_credentials\"", words]).await;
        let live = world.http.get(format!("http://{}/livez", process.admin));
        assert_eq!(Answer::of(live).await.status, 200);
        let (status, took, log) = process.leave(Duration::from_secs(10)).await;
        assert!(status.success(), "{status} after {took:?}");
        let secret = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
        assert!(!log.iter().any(|line| line.contains(&secret)), "{log:?}");
        assert!(log.iter().any(|line| line.contains(words)), "{log:?}");
    }
    assert!(read_object(&world).is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_with_wrong_keys_is_not_ready_and_holds_up_nobody() {
    let world = setup(1, "1s").start().await;
    let first = wait_for_first(&world).await;
    let wrong = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    let spare = start_own(&world, Service::StatsPublisher, &wrong).await;
    wait_for_readyz(&world, &spare, 503, &["AWS_SECRET_ACCESS_KEY is wrong"]).await;
    let second = wait_for_newer(&world, &first, beside_others(Duration::from_secs(3))).await;
    wait_for_newer(&world, &second, beside_others(Duration::from_secs(3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_later_in_a_file_are_found_without_a_restart() {
    let world = setup(0, "1s").start().await;
    let file = world.spec.root.join("credentials");
    let path = file.to_str().expect("it is text");
    let settings = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SHARED_CREDENTIALS_FILE", path),
    ];
    let process = start_own(&world, Service::StatsPublisher, &settings).await;
    wait_for_readyz(&world, &process, 503, &["AWS_ACCESS_KEY_ID is not set"]).await;
    write_keys(&world, path, "wrong");
    wait_for_readyz(&world, &process, 503, &["AWS_SECRET_ACCESS_KEY is wrong"]).await;
    let right = world.stack.env().get("AWS_SECRET_ACCESS_KEY").to_owned();
    write_keys(&world, path, &right);
    wait_for_readyz(&world, &process, 200, &["\"status\":\"ready\""]).await;
    wait_for_first(&world).await;
}

/// Writes a file of keys with this secret.
pub fn write_keys(world: &World, path: &str, secret: &str) {
    let key = world.stack.env().get("AWS_ACCESS_KEY_ID").to_owned();
    let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    fs::write(path, text).expect("the file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_api_without_keys_serves_all_but_the_statistics() {
    let world = setup(1, "1h").start().await;
    wait_for_first(&world).await;
    let none = [("AWS_ACCESS_KEY_ID", "")];
    let process = start_own(&world, Service::ListApi, &none).await;
    let words = ["\"status\":\"degraded\"", "AWS_ACCESS_KEY_ID is not set"];
    wait_for_readyz(&world, &process, 200, &words).await;
    let answer = find_link(&process.url("/v1/stats")).await;
    answer.expect_problem(503, "unavailable");
    assert!(!answer.text().contains("AWS_"), "callers learn nothing of the inside");
    let walk = Answer::of(world.http.get(process.url("/v1/messages"))).await;
    walk.expect(200);
    let (status, _, log) = process.leave(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}");
    assert!(log.iter().any(|line| line.contains("AWS_ACCESS_KEY_ID is not set")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_that_cannot_be_reached_leaves_a_publisher_ready_and_degraded() {
    let world = setup(0, "1s").start().await;
    let nowhere = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let process = start_own(&world, Service::StatsPublisher, &nowhere).await;
    let words = ["\"status\":\"degraded\"", "S3 is not reachable"];
    wait_for_readyz(&world, &process, 200, &words).await;
}
