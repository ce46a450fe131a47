//! What the source says of its limits is heeded.

use std::time::Duration;

use mayfly_tests::{SourceReply, eventually};
use tokio::time::{Instant, sleep};

use super::{ask, increases, shared};

/// How long the source is to be left alone.
const PAUSE: Duration = Duration::from_secs(7);

/// After an answer that asks for a pause: nothing is called before it is over, who asks is told at once,
/// and then all goes on.
async fn expect_pause(host: &str, reply: SourceReply) {
    let (source, world) = shared().await;
    source.set_pages(host, &[("/a", 1)]);
    assert_eq!(increases(&ask(&world, "key", host).await), []);
    sleep(Duration::from_millis(3_100)).await;
    source.set_reply(host, reply);
    ask(&world, "key", host).await.expect(200);
    let limited = source.calls(host).last().expect("it was called").at;
    let calls = source.calls(host).len();
    assert_eq!(calls, 2);
    source.set_reply(host, SourceReply::default());
    while limited.elapsed() + Duration::from_millis(500) < PAUSE {
        let began = Instant::now();
        ask(&world, "key", host).await.expect(200);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(source.calls(host).len(), calls);
        sleep(Duration::from_millis(100)).await;
    }
    eventually(Duration::from_secs(6), "it is called again", async || {
        ask(&world, "key", host).await.expect(200);
        let now = source.calls(host).len();
        if now > calls { Ok(()) } else { Err(now) }
    })
    .await;
    let next = source.calls(host)[calls].at;
    assert!(next.duration_since(limited) + Duration::from_millis(100) >= PAUSE);
}

#[tokio::test]
async fn after_429_it_is_left_alone_for_as_long_as_it_says() {
    let reply = SourceReply::status(429).header("retry-after", "7");
    expect_pause("429.quota.example.org", reply).await;
}

#[tokio::test]
async fn where_no_calls_are_left_none_is_made() {
    let reply =
        SourceReply::default().header("x-ratelimit-remaining", "0").header("retry-after", "7");
    expect_pause("0.quota.example.org", reply).await;
}

#[tokio::test]
async fn a_first_answer_of_429_is_502() {
    let (source, world) = shared().await;
    let host = "first-429.quota.example.org";
    source.set_reply(host, SourceReply::status(429));
    for _ in 0..3 {
        let began = Instant::now();
        ask(&world, "key", host).await.expect_problem(502, "upstream_failed");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    assert_eq!(source.calls(host).len(), 1);
}
