//! Maintenance of the queues.

use std::time::Duration;

use deadpool_redis::redis::Script;
use mayfly_core::{Consumption, Timestamp};
use mayfly_hot::Stream;

use super::read;
use crate::TestStore;

const STREAM: Stream = Stream::Messages;
/// Redis trims whole nodes of this many entries.
const NODE_ENTRIES: u64 = 100;
/// The greatest integer that Lua represents exactly.
const NO_LIMIT: u64 = (1 << 53) - 1;

/// Appends 500 entries.
async fn fill(test: &TestStore) {
    test.create_group(STREAM).await;
    test.append_many(STREAM, 5 * NODE_ENTRIES).await;
}

/// Reads the next entries and acknowledges them.
async fn store(test: &TestStore, count: usize) {
    let batch = read(&mut test.consumer(STREAM, "one"), count).await;
    let entry_ids = super::entry_ids(&batch);
    test.hot.queue().ack_messages(&entry_ids, &[], &[]).await.expect("Redis responds");
}

/// Trims with a window that begins at this time in milliseconds. Returns the number of trimmed
/// entries.
async fn trim_to(test: &TestStore, millis: i64, bytes_max: u64) -> u64 {
    let window = Duration::from_secs(600);
    let now = Timestamp::from_millis(millis).plus(window);
    test.hot.queue().trim(STREAM, window, bytes_max, now).await.expect("Redis responds")
}

#[tokio::test]
async fn acknowledged_entries_before_the_window_are_trimmed() {
    let test = TestStore::create().await;
    assert_eq!(trim_to(&test, 300, NO_LIMIT).await, 0, "without a stream");
    fill(&test).await;
    store(&test, 500).await;
    assert_eq!(trim_to(&test, 301, NO_LIMIT).await, 3 * NODE_ENTRIES);
    assert_eq!(test.hot.queue().length(STREAM).await.expect("Redis responds"), 200);
    assert_eq!(trim_to(&test, 301, NO_LIMIT).await, 0);
}

#[tokio::test]
async fn newest_entry_before_the_window_is_kept() {
    let test = TestStore::create().await;
    fill(&test).await;
    store(&test, 500).await;
    // All entries are older than the window.
    assert_eq!(trim_to(&test, 10_000, NO_LIMIT).await, 4 * NODE_ENTRIES);
    let newest: Vec<(String, Vec<String>)> =
        test.query(&["XREVRANGE", &test.keys().messages(), "+", "-", "COUNT", "1"]).await;
    assert_eq!(newest[0].0, "500-0");
}

#[tokio::test]
async fn newest_entry_before_the_window_is_kept_with_entries_in_the_window() {
    let test = TestStore::create().await;
    fill(&test).await;
    test.append(STREAM, "10000-0").await;
    store(&test, 501).await;
    assert_eq!(trim_to(&test, 5_000, NO_LIMIT).await, 4 * NODE_ENTRIES);
}

#[tokio::test]
async fn entries_that_are_not_acknowledged_are_never_trimmed() {
    let test = TestStore::create().await;
    fill(&test).await;
    assert_eq!(trim_to(&test, 10_000, NO_LIMIT).await, 0, "nothing is read");
    store(&test, 150).await;
    assert_eq!(trim_to(&test, 10_000, NO_LIMIT).await, NODE_ENTRIES, "350 are undelivered");
    read(&mut test.consumer(STREAM, "two"), 100).await;
    store(&test, 250).await;
    assert_eq!(trim_to(&test, 10_000, NO_LIMIT).await, 0, "from 151 on they are pending");
    let depth = test.hot.queue().depth(STREAM).await.expect("Redis responds");
    assert_eq!((depth.waiting, depth.pending), (100, 100));
}

#[tokio::test]
async fn stream_without_a_group_is_not_trimmed() {
    let test = TestStore::create().await;
    fill(&test).await;
    test.query::<()>(&["XGROUP", "DESTROY", &test.keys().messages(), STREAM.group()]).await;
    assert_eq!(trim_to(&test, 10_000, NO_LIMIT).await, 0);
}

#[tokio::test]
async fn window_is_shortened_to_the_maximum_size() {
    let test = TestStore::create().await;
    fill(&test).await;
    store(&test, 500).await;
    let bytes: u64 = test.query(&["MEMORY", "USAGE", &test.keys().messages()]).await;
    assert_eq!(trim_to(&test, 0, bytes).await, 0);
    let trimmed = trim_to(&test, 0, bytes / 2).await;
    assert!((NODE_ENTRIES..=3 * NODE_ENTRIES).contains(&trimmed), "{trimmed}");
}

#[tokio::test]
async fn idle_consumers_without_pending_entries_are_removed() {
    let test = TestStore::create().await;
    let script = Script::new(include_str!("../../../src/queue/remove_idle_consumers.lua"));
    let mut connection = test.connection.clone();
    let mut remove = async |idle_ms: i64| {
        let mut call = script.key(test.keys().messages());
        let call = call.arg(STREAM.group()).arg(idle_ms);
        call.invoke_async::<u64>(&mut connection).await.expect("Redis responds")
    };
    assert_eq!(remove(-1).await, 0, "without a stream");
    test.create_group(STREAM).await;
    test.append_many(STREAM, 2).await;
    read(&mut test.consumer(STREAM, "has pending"), 1).await;
    read(&mut test.consumer(STREAM, "idle"), 1).await;
    test.hot.queue().ack_messages(&["2-0"], &[], &[]).await.expect("Redis responds");
    assert_eq!(remove(600_000).await, 0);
    // All consumers have been idle for more than -1 ms.
    assert_eq!(remove(-1).await, 1);
    assert_eq!(remove(-1).await, 0);
    let depth = test.hot.queue().depth(STREAM).await.expect("Redis responds");
    assert_eq!(depth.pending, 1);
}

#[tokio::test]
async fn consumers_seen_in_the_last_ten_minutes_are_kept() {
    let test = TestStore::create().await;
    let queue = test.hot.queue();
    assert_eq!(queue.remove_idle_consumers(STREAM).await.expect("Redis responds"), 0);
    test.create_group(STREAM).await;
    test.append_many(STREAM, 1).await;
    store(&test, 1).await;
    assert_eq!(queue.remove_idle_consumers(STREAM).await.expect("Redis responds"), 0);
}

#[tokio::test]
async fn waiting_plays_are_reset_only_if_the_queue_is_empty() {
    let test = TestStore::create().await;
    let waiting = async || {
        test.hot.queue().reconcile_waiting_plays().await.expect("Redis responds");
        test.hot.plays().count_waiting().await.expect("Redis responds")
    };
    test.query::<()>(&["HSET", &test.keys().ledger(), "plays.waiting", "9"]).await;
    assert_eq!(waiting().await, 9, "without a stream");
    test.create_group(Stream::Plays).await;
    test.append(Stream::Plays, "1-0").await;
    assert_eq!(waiting().await, 9, "an entry is undelivered");
    read(&mut test.consumer(Stream::Plays, "one"), 1).await;
    assert_eq!(waiting().await, 9, "an entry is pending");
    test.hot.queue().ack_plays(&[("1-0", 2)]).await.expect("Redis responds");
    assert_eq!(test.hot.plays().count_waiting().await.expect("Redis responds"), 7);
    assert_eq!(waiting().await, 0);
}

#[tokio::test]
async fn consumption_times_of_all_workers_are_added() {
    let test = TestStore::create().await;
    let queue = test.hot.queue();
    let find = async |stream| queue.find_consumption(stream).await.expect("Redis responds");
    queue.record_consumption(STREAM, &Consumption::default()).await.expect("Redis responds");
    assert_eq!(find(STREAM).await, Consumption::default());
    let before = test.now().await;
    // By the clock of a worker that is far behind.
    let mut batch = Consumption::default();
    batch.add(Timestamp::from_millis(0), 7, 3);
    batch.add(Timestamp::from_millis(1), 1_000, 2);
    queue.record_consumption(STREAM, &batch).await.expect("Redis responds");
    let mut other = Consumption::default();
    other.add(Timestamp::from_millis(0), 7, 1);
    queue.record_consumption(STREAM, &other).await.expect("Redis responds");
    let total = find(STREAM).await;
    batch.merge(&other);
    assert_eq!((total.sum_ms, &total.buckets), (2_028, &batch.buckets));
    assert_eq!(total.latest_ms(), Some(7));
    assert!(total.latest.is_some_and(|latest| latest.at >= before));
    assert_eq!(find(Stream::Plays).await, Consumption::default());
}
