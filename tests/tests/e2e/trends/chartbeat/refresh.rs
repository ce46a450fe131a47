//! Periodic refresh of every known host.

use std::{collections::BTreeMap, time::Duration};

use mayfly_core::{Clock, SystemClock};
use mayfly_tests::{FakeChartbeat, SourceCall, eventually};
use tokio::time::sleep;

use super::{get_increases, parse_increases, setup, start};

const PERIOD: Duration = Duration::from_secs(5);

/// Counts the calls per period of the clock.
fn by_period(calls: &[SourceCall]) -> BTreeMap<u128, usize> {
    let (now, clock) = (std::time::Instant::now(), SystemClock.now());
    let clock = u128::try_from(clock.as_millis()).expect("after 1970");
    let mut periods = BTreeMap::new();
    for call in calls {
        let at = clock - now.duration_since(call.at).as_millis();
        *periods.entry(at / PERIOD.as_millis()).or_default() += 1;
    }
    periods
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_host_is_refreshed_once_per_period_without_requests() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 2).set("MAYFLY_RISING__REFRESH", "5s")).await;
    let hosts: Vec<_> = (0..15).map(|n| format!("host-{n}.example.org")).collect();
    for host in &hosts {
        source.set_pages(host, &[("/a", 1)]);
        assert_eq!(parse_increases(&get_increases(&world, "key", host).await), []);
    }
    // Wait until the periods with requests are over.
    sleep(2 * PERIOD).await;
    let before: Vec<_> = hosts.iter().map(|host| source.calls(host).len()).collect();
    sleep(3 * PERIOD).await;
    for (host, before) in hosts.iter().zip(before) {
        let calls = source.calls(host);
        let periods = by_period(&calls[before..]);
        assert!((2..=4).contains(&periods.len()), "{host}: {periods:?}");
        let first = periods.keys().next().expect("at least one");
        let last = periods.keys().last().expect("at least one");
        assert_eq!(periods.len() as u128, last - first + 1, "{host}: {periods:?}");
        assert!(periods.values().all(|calls| *calls == 1), "{host}: {periods:?}");
    }
    // The latest sample is stored.
    source.set_pages(&hosts[0], &[("/new", 77)]);
    eventually(2 * PERIOD, "the new sample is stored", async || {
        let stored = world
            .query_count(
                "SELECT count(*) FROM hosts WHERE host = 'host-0.example.org' \
                 AND pages @> '[{\"path\": \"/new\", \"visitors\": 77}]'",
            )
            .await;
        if stored == 1 { Ok(()) } else { Err(stored) }
    })
    .await;
}
