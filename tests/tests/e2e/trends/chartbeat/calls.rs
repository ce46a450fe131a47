//! Calls to the source and their results.

use std::time::Duration;

use mayfly_tests::{FakeChartbeat, SourceReply, eventually};
use tokio::time::{Instant, sleep};

use super::{
    MIN_CALL_INTERVAL, get_increases, intervals, pages, parse_increases, setup, shared, start,
};

#[tokio::test]
async fn increases_are_computed_from_two_samples_and_ordered_by_change() {
    let (source, world) = shared().await;
    let (host, key) = ("growth.example.org", "key-of-growth");
    source.set_pages(host, &[("/a", 10), ("/b", 5), ("/c", 7), ("/d", 4), ("/gone", 9)]);
    let first = get_increases(&world, key, host).await;
    assert_eq!(parse_increases(&first), []);
    source.set_pages(host, &[("/a", 12), ("/b", 9), ("/c", 7), ("/d", 3), ("/new", 50)]);
    let again = get_increases(&world, key, host).await;
    assert_eq!((again.status, again.body), (200, first.body), "cached for three seconds");
    sleep(Duration::from_millis(3_100)).await;
    let later = get_increases(&world, key, host).await;
    assert_eq!(parse_increases(&later), pages(&[("/b", 4), ("/a", 2)]));
    let calls = source.calls(host);
    let target = format!("/live/toppages/?apikey={key}&host={host}&limit=100");
    assert!(calls.iter().all(|call| call.target == target), "{calls:?}");
    assert_eq!(calls.len(), 2);
    assert!(intervals(&calls)[0] >= MIN_CALL_INTERVAL, "{calls:?}");
    // The last sample is stored with the host.
    eventually(Duration::from_secs(5), "the sample is stored", async || {
        let stored = world
            .query_count(
                "SELECT count(*) FROM hosts WHERE host = 'growth.example.org' \
                 AND pages @> '[{\"path\": \"/new\", \"visitors\": 50}]' \
                 AND increases @> '[{\"path\": \"/b\", \"change\": 4}]'",
            )
            .await;
        if stored == 1 { Ok(()) } else { Err(stored) }
    })
    .await;
}

#[tokio::test]
async fn response_format_v3_is_detected() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url_v3(), 1)).await;
    let host = "third.example.org";
    source.set_pages(host, &[("/a", 1), ("/b", 1)]);
    assert_eq!(parse_increases(&get_increases(&world, "key", host).await), []);
    source.set_pages(host, &[("/a", 3), ("/b", 1)]);
    sleep(Duration::from_millis(3_100)).await;
    assert_eq!(parse_increases(&get_increases(&world, "key", host).await), pages(&[("/a", 2)]));
    let target = format!("/live/toppages/v3/?apikey=key&host={host}&limit=100");
    assert_eq!(source.calls(host)[0].target, target);
}

#[tokio::test]
async fn continuous_requests_cause_one_call_in_three_seconds() {
    let (source, world) = shared().await;
    let host = "busy.example.org";
    let until = Instant::now() + Duration::from_secs(10);
    let request_continuously = async |key: String| {
        while Instant::now() < until {
            assert_eq!(get_increases(&world, &key, host).await.status, 200);
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Two keys for one host.
    tokio::join!(
        request_continuously("busy-1".into()),
        request_continuously("busy-1".into()),
        request_continuously("busy-2".into())
    );
    let calls = source.calls(host);
    assert!((3..=5).contains(&calls.len()), "{calls:?}");
    assert!(intervals(&calls).iter().all(|interval| *interval >= MIN_CALL_INTERVAL), "{calls:?}");
}

#[tokio::test]
async fn slow_host_does_not_delay_others() {
    let (source, world) = shared().await;
    let slow = "slow.example.org";
    source.set_reply(slow, SourceReply::default().after(Duration::from_secs(2)));
    let slow = async {
        let response = get_increases(&world, "key", slow).await;
        (response, Instant::now())
    };
    let quick = async {
        for n in 0..5 {
            let host = format!("quick-{n}.example.org");
            assert_eq!(parse_increases(&get_increases(&world, "key", &host).await), []);
        }
        Instant::now()
    };
    let ((response, slow_at), quick_at) = tokio::join!(slow, quick);
    assert_eq!(parse_increases(&response), []);
    assert!(quick_at < slow_at, "after {:?}", quick_at.duration_since(slow_at));
}
