//! Trimming the streams.

use std::time::Duration;

use mayfly_core::Timestamp;
use mayfly_hot::{Stream, TrimOutcome};

use super::read;
use crate::TestStore;

const STREAM: Stream = Stream::Messages;
/// Redis trims whole nodes of this many entries.
const NODE_ENTRIES: u64 = 100;
/// The greatest integer that Lua represents exactly.
const NO_LIMIT: u64 = (1 << 53) - 1;
const HOUR: Duration = Duration::from_secs(3_600);
/// Longer than the age of any entry.
const EVER: Duration = Duration::from_secs(1_000 * 24 * 3_600);

/// Appends 500 entries with times one hour apart. The newest entry has the current time.
async fn fill(test: &TestStore) {
    test.create_group(STREAM).await;
    let now = test.now().await;
    let mut pipe = redis::pipe();
    for number in 1..=500 {
        let entry_id = format!("{}-0", now.minus(HOUR * (500 - number)).as_millis());
        pipe.cmd("XADD").arg(test.keys().messages()).arg(entry_id).arg("kind").arg("x").ignore();
    }
    pipe.query_async::<()>(&mut test.connection.clone()).await.expect("Redis responds");
}

/// Reads the next entries and acknowledges them.
async fn store(test: &TestStore, count: usize) {
    let batch = read(&mut test.consumer(STREAM, "one"), count).await;
    let entry_ids = super::entry_ids(&batch);
    test.hot.queue().ack_messages(&entry_ids, &[], &[]).await.expect("Redis responds");
}

async fn trim(test: &TestStore, window: Duration, bytes_max: u64) -> TrimOutcome {
    test.hot.queue().trim(STREAM, window, bytes_max).await.expect("Redis responds")
}

/// Trims with a window that begins half an hour after an entry of [`fill`]. Returns the number of
/// trimmed entries.
async fn trim_to(test: &TestStore, entry: u32) -> u64 {
    let window = (HOUR * (500 - entry)).saturating_sub(HOUR / 2);
    trim(test, window, NO_LIMIT).await.trimmed
}

async fn length(test: &TestStore) -> u64 {
    test.hot.queue().length(STREAM).await.expect("Redis responds")
}

#[tokio::test]
async fn acknowledged_entries_before_the_window_are_trimmed() {
    let test = TestStore::create().await;
    assert_eq!(trim_to(&test, 300).await, 0, "without a stream");
    fill(&test).await;
    store(&test, 500).await;
    assert_eq!(trim(&test, EVER, NO_LIMIT).await.trimmed, 0, "all entries are in the window");
    assert_eq!(trim_to(&test, 301).await, 3 * NODE_ENTRIES);
    assert_eq!(length(&test).await, 200);
    assert_eq!(trim_to(&test, 301).await, 0);
}

#[tokio::test]
async fn newest_entry_before_the_window_is_kept() {
    let test = TestStore::create().await;
    fill(&test).await;
    store(&test, 500).await;
    // All entries are older than the window.
    assert_eq!(trim_to(&test, 500).await, 4 * NODE_ENTRIES);
    let newest: Vec<(String, Vec<String>)> =
        test.query(&["XREVRANGE", &test.keys().messages(), "+", "-", "COUNT", "1"]).await;
    let millis = newest[0].0.split('-').next().expect("a time").parse().expect("a number");
    assert!(test.now().await.since(Timestamp::from_millis(millis)) < HOUR);
}

#[tokio::test]
async fn newest_entry_before_the_window_is_kept_with_entries_in_the_window() {
    let test = TestStore::create().await;
    fill(&test).await;
    for number in 0..NODE_ENTRIES {
        let in_a_year = test.now().await.plus(HOUR * 24 * 365).as_millis();
        test.append(STREAM, &format!("{in_a_year}-{number}")).await;
    }
    store(&test, 600).await;
    // Entry 500 is in the fifth node.
    assert_eq!(trim(&test, Duration::ZERO, NO_LIMIT).await.trimmed, 4 * NODE_ENTRIES);
}

#[tokio::test]
async fn entries_that_are_not_acknowledged_are_never_trimmed() {
    let test = TestStore::create().await;
    fill(&test).await;
    // Neither the window nor the maximum size retains any entry.
    let trim = async || trim(&test, Duration::ZERO, 1).await.trimmed;
    assert_eq!(trim().await, 0, "nothing is read");
    store(&test, 150).await;
    assert_eq!(trim().await, NODE_ENTRIES, "350 are undelivered");
    read(&mut test.consumer(STREAM, "two"), 100).await;
    store(&test, 250).await;
    assert_eq!(trim().await, 0, "entries from 151 on are pending");
    let depth = test.hot.queue().depth(STREAM).await.expect("Redis responds");
    assert_eq!((depth.waiting, depth.pending), (100, 100));
}

#[tokio::test]
async fn entries_that_a_rewound_group_reads_again_are_not_trimmed() {
    let test = TestStore::create().await;
    fill(&test).await;
    store(&test, 450).await;
    read(&mut test.consumer(STREAM, "two"), 50).await;
    let (stream, group) = (test.keys().messages(), STREAM.group());
    test.query::<()>(&["XGROUP", "SETID", &stream, group, "0"]).await;
    assert_eq!(trim(&test, Duration::ZERO, 1).await.trimmed, 0);
}

#[tokio::test]
async fn stream_without_mayflys_group_is_not_trimmed() {
    let test = TestStore::create().await;
    fill(&test).await;
    let stream = test.keys().messages();
    test.query::<()>(&["XGROUP", "DESTROY", &stream, STREAM.group()]).await;
    assert_eq!(trim(&test, Duration::ZERO, 1).await.trimmed, 0);
    // Another program has a group that has read all entries.
    test.query::<()>(&["XGROUP", "CREATE", &stream, "look", "$"]).await;
    assert_eq!(trim(&test, Duration::ZERO, 1).await, TrimOutcome::default());
    assert_eq!(length(&test).await, 500);
}

#[tokio::test]
async fn forgotten_group_does_not_stop_trimming_and_is_reported() {
    let test = TestStore::create().await;
    fill(&test).await;
    let stream = test.keys().messages();
    for (group, from) in [("look", "0"), ("up to date", "$"), ("stalled", "0")] {
        test.query::<()>(&["XGROUP", "CREATE", &stream, group, from]).await;
    }
    // A consumer that crashed.
    let read = ["XREADGROUP", "GROUP", "stalled", "gone", "STREAMS", &stream, ">"];
    test.query::<redis::Value>(&read).await;
    store(&test, 500).await;
    let outcome = trim(&test, EVER, NO_LIMIT).await;
    assert_eq!(outcome, TrimOutcome::default(), "all entries are in the window");
    let outcome = trim(&test, HOUR / 2, NO_LIMIT).await;
    let mut groups = outcome.other_groups;
    groups.sort();
    assert_eq!((outcome.trimmed, &groups[..]), (400, &["look".into(), "stalled".into()][..]));
}

#[tokio::test]
async fn forgotten_group_does_not_stop_trimming_by_size() {
    let test = TestStore::create().await;
    fill(&test).await;
    let stream = test.keys().messages();
    test.query::<()>(&["XGROUP", "CREATE", &stream, "look", "0"]).await;
    store(&test, 500).await;
    let outcome = trim(&test, EVER, 1).await;
    assert_eq!((outcome.trimmed, &outcome.other_groups[..]), (400, &["look".into()][..]));
}

#[tokio::test]
async fn window_is_shortened_to_the_maximum_size() {
    let test = TestStore::create().await;
    fill(&test).await;
    store(&test, 500).await;
    let bytes: u64 = test.query(&["MEMORY", "USAGE", &test.keys().messages()]).await;
    assert_eq!(trim(&test, EVER, bytes).await.trimmed, 0);
    let trimmed = trim(&test, EVER, bytes / 2).await.trimmed;
    assert!((NODE_ENTRIES..=3 * NODE_ENTRIES).contains(&trimmed), "{trimmed}");
}

#[tokio::test]
async fn burst_is_trimmed_to_the_maximum_size_regardless_of_its_age() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    // One entry is old, and all others are new.
    test.append(STREAM, "1-0").await;
    test.append_now(STREAM, 5_000).await;
    store(&test, 5_001).await;
    let bytes: u64 = test.query(&["MEMORY", "USAGE", &test.keys().messages()]).await;
    let trimmed = trim(&test, EVER, bytes / 4).await.trimmed;
    assert!((3_500..=3_900).contains(&trimmed), "{trimmed}");
}

#[tokio::test]
async fn long_stream_is_trimmed_in_one_run() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.append_now(STREAM, 35_000).await;
    store(&test, 35_000).await;
    // A step trims at most 10,000 entries.
    let trimmed = trim(&test, Duration::ZERO, NO_LIMIT).await.trimmed;
    assert!((34_900..35_000).contains(&trimmed), "{trimmed}");
}

#[tokio::test]
async fn stream_of_the_wrong_type_is_an_error() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().messages(), "x"]).await;
    test.hot.queue().trim(STREAM, Duration::ZERO, 1).await.expect_err("a string");
    test.hot.queue().depth(STREAM).await.expect_err("a string");
}
