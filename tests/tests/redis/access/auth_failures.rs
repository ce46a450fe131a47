//! The limit on failed authentications.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_hot::FailureWindow;
use mayfly_runtime::settings::Rate;

use crate::{TestStore, is_fresh};

const MINUTE: Duration = Duration::from_secs(60);

fn rate(items: u32) -> Rate {
    Rate { items, window: MINUTE }
}

fn key(test: &TestStore, client: &str) -> String {
    test.keys().rate("auth_failures", 60, client)
}

/// Counts a failure. Returns whether it exceeded the limit.
async fn count(test: &TestStore, client: &str, items: u32) -> FailureWindow {
    let window = test.hot.auth_failures().count(client, rate(items)).await;
    window.expect("Redis responds").expect("a readable key")
}

async fn read(test: &TestStore, client: &str, items: u32) -> FailureWindow {
    let window = test.hot.auth_failures().read(client, rate(items)).await;
    window.expect("Redis responds").expect("a readable key")
}

#[tokio::test]
async fn failures_are_counted_until_the_limit() {
    let test = TestStore::create().await;
    assert!(!read(&test, "client", 2).await.is_exceeded);
    assert!(!test.has_key(&key(&test, "client")).await, "reading begins no window");
    for _ in 0..2 {
        assert!(!read(&test, "client", 2).await.is_exceeded);
        let window = count(&test, "client", 2).await;
        assert!(!window.is_exceeded && is_fresh(window.resets_in, MINUTE), "{window:?}");
    }
    for _ in 0..3 {
        assert!(read(&test, "client", 2).await.is_exceeded);
        assert!(count(&test, "client", 2).await.is_exceeded);
    }
    let counted: u32 = test.query(&["GET", &key(&test, "client")]).await;
    assert_eq!(counted, 2, "failures beyond the limit are not counted");
    assert!(!count(&test, "other", 2).await.is_exceeded);
}

#[tokio::test]
async fn window_begins_with_the_first_failure_and_is_not_extended() {
    let test = TestStore::create().await;
    count(&test, "client", 2).await;
    assert!(is_fresh(test.ttl(&key(&test, "client")).await, MINUTE));
    test.query::<()>(&["PEXPIRE", &key(&test, "client"), "30000"]).await;
    count(&test, "client", 2).await;
    let window = count(&test, "client", 2).await;
    assert!(window.is_exceeded && is_fresh(window.resets_in, MINUTE / 2), "{window:?}");
    test.query::<()>(&["DEL", &key(&test, "client")]).await;
    assert!(!count(&test, "client", 2).await.is_exceeded, "the next window");
}

#[tokio::test]
async fn limit_is_exact_for_concurrent_failures() {
    let test = TestStore::create().await;
    let counts = (0..60).map(|_| count(&test, "client", 25));
    let windows = join_all(counts).await;
    let exceeded = windows.iter().filter(|window| window.is_exceeded).count();
    assert_eq!(exceeded, 35);
}

#[tokio::test]
async fn key_of_the_wrong_type_counts_nothing() {
    let test = TestStore::create().await;
    test.overwrite(&key(&test, "client")).await;
    let failures = test.hot.auth_failures();
    assert_eq!(failures.count("client", rate(2)).await.expect("Redis responds"), None);
    assert_eq!(failures.read("client", rate(2)).await.expect("Redis responds"), None);
    test.query::<()>(&["DEL", &key(&test, "client")]).await;
    test.query::<()>(&["SET", &key(&test, "client"), "many"]).await;
    assert_eq!(failures.count("client", rate(2)).await.expect("Redis responds"), None);
}
