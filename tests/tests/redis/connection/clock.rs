//! The clock of Redis.

use std::time::Duration;

use mayfly_core::Clock;

use crate::TestStore;

/// The maximum duration of a clock reading on a busy machine.
const SLACK: Duration = Duration::from_secs(20);

#[tokio::test]
async fn process_follows_the_clock_of_redis_after_one_reading() {
    let test = TestStore::create().await;
    let threads = [test.hot.with_dedicated_connections(), test.hot.clone()];
    let (read_at, ()) =
        test.assert_now(async { (test.hot.read_clock().await.expect("Redis responds"), ()) }).await;
    for store in threads {
        assert!(store.clock().is_synchronized(), "all threads share the clock");
        let now = store.clock().now();
        assert!(now.plus(Duration::from_millis(2)) >= read_at && now.since(read_at) < SLACK);
    }
}

#[tokio::test]
async fn clock_is_read_once_to_synchronize() {
    let test = TestStore::create().await;
    let restricted = test.restrict(&["-time"]).await;
    restricted.hot.synchronize_clock().await.expect_err("the command is forbidden");
    assert!(!restricted.hot.clock().is_synchronized());
    test.hot.synchronize_clock().await.expect("Redis responds");
    assert!(test.hot.clock().is_synchronized());
}
