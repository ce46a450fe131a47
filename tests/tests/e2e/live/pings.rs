//! Who does not answer is gone.

use std::time::Duration;

use mayfly_tests::{
    PATIENCE, is_full,
    live::{Heard, Live},
    short_or_full,
};
use tokio::time::{Instant, timeout};

use super::{metrics_of, shared, start_own, url_of};

fn settings() -> Vec<(&'static str, &'static str)> {
    if is_full() {
        return Vec::new();
    }
    vec![("MAYFLY_FANOUT__PING_INTERVAL", "1s"), ("MAYFLY_FANOUT__PONG_TIMEOUT", "2s")]
}

/// How long until a silent client is closed: ping after 25 s, 10 s for the pong.
fn closed_after() -> (Duration, Duration) {
    let (quiet, patience) = if is_full() { (25, 10) } else { (1, 2) };
    // A second for timers that tick, and some for a machine that runs other tests as well.
    let margin = short_or_full(4, 1);
    (Duration::from_secs(quiet), Duration::from_secs(quiet + patience + margin))
}

#[tokio::test]
async fn a_client_without_pongs_is_closed_with_4001_and_one_with_pongs_stays() {
    let world = shared().await;
    let fanout = start_own(&world, &settings()).await;
    let url = url_of(&fanout, "channel=pongs");
    let (mut silent, _) = Live::hello(&url).await;
    let (mut loud, _) = Live::hello(&url).await;
    silent.mute();
    let began = Instant::now();
    let (least, most) = closed_after();

    let closed = tokio::spawn(async move {
        let mut pings = 0;
        loop {
            match silent.hear().await {
                Heard::Ping(_) => pings += 1,
                Heard::Close(code, _) => return (code, pings, began.elapsed()),
                other => panic!("neither ping nor close: {other:?}"),
            }
        }
    });
    // The other one answers; it is there long after.
    let until = began + most;
    while let Ok(heard) = tokio::time::timeout_at(until, loud.hear()).await {
        assert!(matches!(heard, Heard::Ping(_)), "{heard:?}");
    }
    let (code, pings, after) = timeout(most, closed).await.expect("in time").expect("no panic");
    println!("closed with {code} after {after:?} and {pings} pings");
    assert_eq!(code, 4001);
    assert!(pings >= 1 && least < after && after < most, "{pings} pings, {after:?}");
    mayfly_tests::eventually(PATIENCE, "it is counted", async || {
        let metrics = metrics_of(&world, &fanout).await;
        let counted = metrics.sum("closed_total{code=\"4001\"}") >= 1;
        if counted && metrics.sum("connections") <= 1 { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_without_a_word_is_noticed() {
    let world = shared().await;
    let fanout = start_own(&world, &settings()).await;
    let url = url_of(&fanout, "channel=gone");
    let (one, _) = Live::hello(&url).await;
    let (other, _) = Live::hello(&url).await;
    one.reset();
    drop(other);
    mayfly_tests::eventually(PATIENCE, "nobody is there", async || {
        let left = metrics_of(&world, &fanout).await.sum("connections");
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}
