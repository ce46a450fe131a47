//! Dead connections are detected by pings.

use std::time::Duration;

use mayfly_tests::{
    DEFAULT_TIMEOUT, is_full,
    live::{LiveSocket, SocketEvent},
    short_or_full,
};
use tokio::time::{Instant, timeout};

use crate::live::{feed_url, read_metrics, shared, start_instance};

fn settings() -> Vec<(&'static str, &'static str)> {
    if is_full() {
        return Vec::new();
    }
    vec![("MAYFLY_FANOUT__PING_INTERVAL", "1s"), ("MAYFLY_FANOUT__PONG_TIMEOUT", "2s")]
}

/// Returns when a silent client is closed: a ping after 25 s, and 10 s for the pong.
fn closed_after() -> (Duration, Duration) {
    let (interval, timeout) = if is_full() { (25, 10) } else { (1, 2) };
    // One second for the resolution of the timers, and more while other tests run.
    let margin = short_or_full(4, 1);
    (Duration::from_secs(interval), Duration::from_secs(interval + timeout + margin))
}

#[tokio::test]
async fn client_without_pongs_is_closed_with_4001() {
    let world = shared().await;
    let fanout = start_instance(&world, &settings()).await;
    let url = feed_url(&fanout, "channel=pongs");
    let (mut silent, _) = LiveSocket::connect_with_hello(&url).await;
    let (mut loud, _) = LiveSocket::connect_with_hello(&url).await;
    silent.stop_answering();
    let started_at = Instant::now();
    let (min, max) = closed_after();

    let closed = tokio::spawn(async move {
        let mut pings = 0;
        loop {
            match silent.receive().await {
                SocketEvent::Ping(_) => pings += 1,
                SocketEvent::Close(code, _) => return (code, pings, started_at.elapsed()),
                other => panic!("neither ping nor close: {other:?}"),
            }
        }
    });
    // The other client answers and stays connected.
    let until = started_at + max;
    while let Ok(received) = tokio::time::timeout_at(until, loud.receive()).await {
        assert!(matches!(received, SocketEvent::Ping(_)), "{received:?}");
    }
    let (code, pings, after) = timeout(max, closed)
        .await
        .expect("the frame arrives in time")
        .expect("the task does not panic");
    println!("closed with {code} after {after:?} and {pings} pings");
    assert_eq!(code, 4001);
    assert!(pings >= 1 && min < after && after < max, "{pings} pings, {after:?}");
    mayfly_tests::eventually(DEFAULT_TIMEOUT, "the close is counted", async || {
        let metrics = read_metrics(&world, &fanout).await;
        let counted = metrics.sum("connections_closed_total{code=\"4001\"}") >= 1;
        if counted && metrics.sum("connections") <= 1 { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn client_that_disconnects_without_a_close_is_detected() {
    let world = shared().await;
    let fanout = start_instance(&world, &settings()).await;
    let url = feed_url(&fanout, "channel=gone");
    let (one, _) = LiveSocket::connect_with_hello(&url).await;
    let (other, _) = LiveSocket::connect_with_hello(&url).await;
    one.reset();
    drop(other);
    mayfly_tests::eventually(DEFAULT_TIMEOUT, "there are no subscribers", async || {
        let left = read_metrics(&world, &fanout).await.sum("connections");
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}
