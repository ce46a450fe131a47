//! Rejections, failures, invalid responses and timeouts of the source.

use std::time::Duration;

use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, SourceReply, eventually};
use tokio::time::{Instant, sleep};

use super::{get_increases, pages, parse_increases, shared};
use crate::access::credentials::{NewKey, create_keys};

/// The maximum response time.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(5);

/// Samples a host twice and returns its response.
async fn sample_host(host: &str) -> ApiResponse {
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 1)]);
    assert_eq!(parse_increases(&get_increases(&world, "key", host).await), []);
    source.set_pages(host, &[("/a", 4)]);
    sleep(Duration::from_millis(3_100)).await;
    let response = get_increases(&world, "key", host).await;
    assert_eq!(parse_increases(&response), pages(&[("/a", 3)]));
    sleep(Duration::from_millis(3_100)).await;
    response
}

/// Sets the source's reply and returns the response of `list-api`, which must be in time.
async fn get_with_reply(host: &str, reply: SourceReply) -> ApiResponse {
    let (source, world) = shared().await;
    source.set_reply(host, reply);
    let started = Instant::now();
    let response = get_increases(&world, "key", host).await;
    assert!(started.elapsed() < MAX_RESPONSE_TIME, "{:?}", started.elapsed());
    response
}

async fn expect_stale(host: &str, reply: SourceReply) {
    let last = sample_host(host).await;
    let response = get_with_reply(host, reply).await;
    assert_eq!((response.status, &response.body), (200, &last.body), "{}", response.text());
    assert_eq!(response.header("mayfly-stale"), "true");
    let age: u64 = response.header("age").parse().expect("`age` is set");
    assert!((3..=9).contains(&age), "{age}");
}

fn timeout_reply() -> SourceReply {
    SourceReply::default().after(Duration::from_secs(5))
}

#[tokio::test]
async fn rejection_returns_400_even_with_an_earlier_response() {
    let host = "403.fails.example.org";
    let response = get_with_reply(host, SourceReply::status(403)).await;
    response.expect_problem(400, "upstream_refused");
    let host = "403-later.fails.example.org";
    sample_host(host).await;
    let response = get_with_reply(host, SourceReply::status(403)).await;
    response.expect_problem(400, "upstream_refused");
    let host = "404-later.fails.example.org";
    sample_host(host).await;
    let response = get_with_reply(host, SourceReply::status(404)).await;
    response.expect_problem(400, "upstream_refused");
}

#[tokio::test]
async fn failure_returns_502_or_the_response_of_the_last_minute() {
    let host = "500.fails.example.org";
    let response = get_with_reply(host, SourceReply::status(500)).await;
    response.expect_problem(502, "upstream_failed");
    expect_stale("500-later.fails.example.org", SourceReply::status(500)).await;
}

/// A generated key is not sent to the source, so its answers are not outcomes of calls.
#[tokio::test]
async fn answer_for_a_generated_key_does_not_hide_a_failure() {
    let host = "generated.fails.example.org";
    let (source, world) = shared().await;
    let last = sample_host(host).await;
    source.set_reply(host, SourceReply::status(500));
    let key = create_keys(&world, &[NewKey { scopes: &["read"], ..NewKey::default() }]).await;
    eventually(DEFAULT_TIMEOUT, "the key is valid", async || {
        match get_increases(&world, &key[0], host).await.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    let response = get_increases(&world, "key", host).await;
    assert_eq!((response.status, &response.body), (200, &last.body), "{}", response.text());
    assert_eq!(response.header("mayfly-stale"), "true");
}

#[tokio::test]
async fn invalid_response_is_a_failure() {
    let invalid = [
        ("text", "no"),
        ("object", "{}"),
        ("pathless", r#"[{"i":"A","visitors":2}]"#),
        ("negative", r#"[{"i":"A","path":"/a","visitors":-2}]"#),
    ];
    for (name, body) in invalid {
        let host = format!("{name}.fails.example.org");
        let response = get_with_reply(&host, SourceReply::body(body)).await;
        response.expect_problem(502, "upstream_failed");
    }
    expect_stale("garbage-later.fails.example.org", SourceReply::body("no")).await;
}

#[tokio::test]
async fn response_above_4_mib_is_a_failure() {
    let long = format!("[{}{{\"path\":\"/a\",\"visitors\":1}}]", " ".repeat(5 * 1024 * 1024));
    let response = get_with_reply("long.fails.example.org", SourceReply::body(&long)).await;
    response.expect_problem(502, "upstream_failed");
}

#[tokio::test]
async fn timeout_after_three_seconds_is_a_failure() {
    let response = get_with_reply("silent.fails.example.org", timeout_reply()).await;
    response.expect_problem(502, "upstream_failed");
    expect_stale("silent-later.fails.example.org", timeout_reply()).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let reply = SourceReply::status(302).header("location", "/live/toppages/?host=elsewhere");
    let response = get_with_reply("moved.fails.example.org", reply).await;
    response.expect_problem(502, "upstream_failed");
    assert!(shared().await.0.calls("elsewhere").is_empty());
}

#[tokio::test]
async fn recovered_source_is_used_again() {
    let host = "again.fails.example.org";
    expect_stale(host, SourceReply::status(503)).await;
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 9)]);
    source.set_reply(host, SourceReply::default());
    sleep(Duration::from_millis(3_100)).await;
    let response = get_increases(&world, "key", host).await;
    assert_eq!(parse_increases(&response), pages(&[("/a", 5)]));
    assert_eq!(response.header("mayfly-stale"), "");
}
