//! How the source is called, and what its answers become.

use std::time::Duration;

use mayfly_tests::{FakeChartbeat, SourceReply, eventually};
use tokio::time::{Instant, sleep};

use super::{SPACING, ask, distances, increases, pages, setup, shared, start};

#[tokio::test]
async fn first_nothing_has_increased_then_what_has_stands_by_its_change() {
    let (source, world) = shared().await;
    let (host, key) = ("growth.example.org", "key-of-growth");
    source.set_pages(host, &[("/a", 10), ("/b", 5), ("/c", 7), ("/d", 4), ("/gone", 9)]);
    let first = ask(&world, key, host).await;
    assert_eq!(increases(&first), []);
    source.set_pages(host, &[("/a", 12), ("/b", 9), ("/c", 7), ("/d", 3), ("/new", 50)]);
    let again = ask(&world, key, host).await;
    assert_eq!((again.status, again.body), (200, first.body), "three seconds are not over");
    sleep(Duration::from_millis(3_100)).await;
    let later = ask(&world, key, host).await;
    assert_eq!(increases(&later), pages(&[("/b", 4), ("/a", 2)]));
    let calls = source.calls(host);
    let target = format!("/live/toppages/?apikey={key}&host={host}&limit=100");
    assert!(calls.iter().all(|call| call.target == target), "{calls:?}");
    assert_eq!(calls.len(), 2);
    assert!(distances(&calls)[0] >= SPACING, "{calls:?}");
    // Nothing is lost of what was seen last: it is stored, with the key and the host.
    eventually(Duration::from_secs(5), "the sample is stored", async || {
        let stored = world
            .count(
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
async fn the_third_form_is_read_by_its_shape() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url_v3(), 1)).await;
    let host = "third.example.org";
    source.set_pages(host, &[("/a", 1), ("/b", 1)]);
    assert_eq!(increases(&ask(&world, "key", host).await), []);
    source.set_pages(host, &[("/a", 3), ("/b", 1)]);
    sleep(Duration::from_millis(3_100)).await;
    assert_eq!(increases(&ask(&world, "key", host).await), pages(&[("/a", 2)]));
    let target = format!("/live/toppages/v3/?apikey=key&host={host}&limit=100");
    assert_eq!(source.calls(host)[0].target, target);
}

#[tokio::test]
async fn who_asks_all_the_time_makes_one_call_in_three_seconds() {
    let (source, world) = shared().await;
    let host = "busy.example.org";
    let until = Instant::now() + Duration::from_secs(10);
    let asking = async |key: String| {
        while Instant::now() < until {
            assert_eq!(ask(&world, &key, host).await.status, 200);
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Two keys for one host.
    tokio::join!(asking("busy-1".into()), asking("busy-1".into()), asking("busy-2".into()));
    let calls = source.calls(host);
    assert!((3..=5).contains(&calls.len()), "{calls:?}");
    assert!(distances(&calls).iter().all(|distance| *distance >= SPACING), "{calls:?}");
}

#[tokio::test]
async fn a_slow_host_holds_up_no_other() {
    let (source, world) = shared().await;
    let slow = "slow.example.org";
    source.set_reply(slow, SourceReply::default().after(Duration::from_millis(2_500)));
    let began = Instant::now();
    let quick = async {
        for n in 0..10 {
            let host = format!("quick-{n}.example.org");
            assert_eq!(increases(&ask(&world, "key", &host).await), []);
        }
        began.elapsed()
    };
    let (answer, quick) = tokio::join!(ask(&world, "key", slow), quick);
    assert_eq!(increases(&answer), []);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(quick < Duration::from_millis(2_400), "{quick:?}");
}
