//! The quota of the source is respected.

use std::time::Duration;

use mayfly_tests::{SourceReply, eventually};
use tokio::time::{Instant, sleep};

use super::{get_increases, parse_increases, shared};

/// The pause that the source requests.
const PAUSE: Duration = Duration::from_secs(7);

/// Checks that no call is made during the pause that the reply requests, that requests still get an
/// immediate response, and that calls resume afterward.
async fn expect_pause(host: &str, reply: SourceReply) {
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 1)]);
    assert_eq!(parse_increases(&get_increases(&world, "key", host).await), []);
    sleep(Duration::from_millis(3_100)).await;
    source.set_reply(host, reply);
    get_increases(&world, "key", host).await.expect_status(200);
    let limited = source.calls(host).last().expect("the source was called").at;
    let calls = source.calls(host).len();
    assert_eq!(calls, 2);
    source.set_reply(host, SourceReply::default());
    while limited.elapsed() + Duration::from_millis(500) < PAUSE {
        let started = Instant::now();
        get_increases(&world, "key", host).await.expect_status(200);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(source.calls(host).len(), calls);
        sleep(Duration::from_millis(100)).await;
    }
    eventually(Duration::from_secs(6), "calls resume", async || {
        get_increases(&world, "key", host).await.expect_status(200);
        let now = source.calls(host).len();
        if now > calls { Ok(()) } else { Err(now) }
    })
    .await;
    let next = source.calls(host)[calls].at;
    assert!(next.duration_since(limited) + Duration::from_millis(100) >= PAUSE);
}

#[tokio::test]
async fn calls_pause_after_429_until_retry_after() {
    let reply = SourceReply::status(429).header("retry-after", "7");
    expect_pause("429.quota.example.org", reply).await;
}

#[tokio::test]
async fn calls_pause_when_the_quota_is_used_up() {
    let reply =
        SourceReply::default().header("x-ratelimit-remaining", "0").header("retry-after", "7");
    expect_pause("0.quota.example.org", reply).await;
}

#[tokio::test]
async fn initial_429_returns_502() {
    let (source, world) = shared().await;
    let host = "first-429.quota.example.org";
    source.set_reply(host, SourceReply::status(429));
    for _ in 0..3 {
        let started = Instant::now();
        get_increases(&world, "key", host).await.expect_problem(502, "upstream_failed");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    assert_eq!(source.calls(host).len(), 1);
}
