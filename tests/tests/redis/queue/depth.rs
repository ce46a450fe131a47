//! The depth of a queue.

use std::time::Duration;

use mayfly_core::{EntryId, Timestamp};
use mayfly_hot::{QueueDepth, Stream};

use super::read;
use crate::{TestStore, entry_id, messages::messages_to, plays::write_request};

const STREAM: Stream = Stream::Messages;

async fn depth(test: &TestStore) -> (u64, u64, Option<i64>) {
    let depth = test.hot.queue().depth(STREAM).await.expect("Redis responds");
    let QueueDepth { waiting, pending, oldest, .. } = depth;
    (waiting, pending, oldest.map(Timestamp::as_millis))
}

async fn acked_up_to(test: &TestStore) -> Option<EntryId> {
    test.hot.queue().find_acked_up_to(STREAM).await.expect("Redis responds")
}

#[tokio::test]
async fn delivered_and_undelivered_entries_are_counted() {
    let test = TestStore::create().await;
    assert_eq!(depth(&test).await, (0, 0, None));
    for entry in ["1-0", "2-0", "3-0"] {
        test.append(STREAM, entry).await;
    }
    assert_eq!(depth(&test).await, (3, 0, Some(1)), "without a group");
    test.create_group(STREAM).await;
    assert_eq!(depth(&test).await, (3, 0, Some(1)));
    read(&mut test.consumer(STREAM, "one"), 2).await;
    assert_eq!(depth(&test).await, (3, 2, Some(1)));
    test.hot.queue().ack_messages(&["1-0"], &[], &[]).await.expect("Redis responds");
    assert_eq!(depth(&test).await, (2, 1, Some(2)));
    test.hot.queue().ack_messages(&["2-0"], &[], &[]).await.expect("Redis responds");
    assert_eq!(depth(&test).await, (1, 0, Some(3)));
    assert_eq!(test.hot.queue().length(STREAM).await.expect("Redis responds"), 3);
}

/// The limit of a queue counts items, and an entry contains up to a thousand plays.
#[tokio::test]
async fn depth_contains_the_items_that_the_limit_counts() {
    let test = TestStore::create().await;
    let depth = async |stream| {
        let depth = test.hot.queue().depth(stream).await.expect("Redis responds");
        (depth.items, depth.waiting)
    };
    assert_eq!(depth(Stream::Plays).await, (0, 0));
    test.accept(&messages_to("kiran", 3)).await;
    for count in [3, 1] {
        test.play_writer().write(write_request(count)).await.expect("Redis responds");
    }
    assert_eq!(depth(Stream::Messages).await, (3, 3));
    assert_eq!(depth(Stream::Plays).await, (4, 2));
}

#[tokio::test]
async fn age_of_the_oldest_entry_is_measured_by_the_clock_of_redis() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    let hour = Duration::from_secs(3_600);
    let entry = format!("{}-0", test.now().await.minus(hour).as_millis());
    let age = async || test.hot.queue().depth(STREAM).await.expect("Redis responds").oldest_age;
    assert_eq!(age().await, Duration::ZERO);
    test.append(STREAM, &entry).await;
    for _ in ["undelivered", "pending"] {
        assert!((hour..hour * 2).contains(&age().await));
        read(&mut test.consumer(STREAM, "one"), 1).await;
    }
    test.hot.queue().ack_messages(&[entry.as_str()], &[], &[]).await.expect("Redis responds");
    assert_eq!(age().await, Duration::ZERO);
    test.append(STREAM, "9999999999999-0").await;
    assert_eq!(age().await, Duration::ZERO, "an entry from a clock that is ahead");
}

#[tokio::test]
async fn depth_of_a_short_queue_is_exact_after_an_entry_was_deleted() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.append_many(STREAM, 17).await;
    read(&mut test.consumer(STREAM, "one"), 2).await;
    for (deleted, left) in [("4-0", 16), ("17-0", 15), ("3-0", 14), ("1-0", 14)] {
        test.query::<()>(&["XDEL", &test.keys().messages(), deleted]).await;
        assert_eq!(depth(&test).await.0, left, "{deleted}");
    }
}

#[tokio::test]
async fn depth_of_a_long_queue_is_approximate_after_an_entry_was_deleted() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.accept(&messages_to("kiran", 300)).await;
    let entries = test.entries(&test.keys().messages()).await;
    read(&mut test.consumer(STREAM, "one"), 2).await;
    for deleted in [4, 100, 299] {
        test.query::<()>(&["XDEL", &test.keys().messages(), &entries[deleted].0]).await;
    }
    let waiting = depth(&test).await.0;
    assert!((297..=300).contains(&waiting), "{waiting}");
    // Redis cannot compute the lag before or after the group has passed a deleted entry.
    read(&mut test.consumer(STREAM, "one"), 200).await;
    let waiting = depth(&test).await.0;
    assert!((297..=300).contains(&waiting), "{waiting}");
}

#[tokio::test]
async fn queue_that_was_trimmed_by_hand_is_empty() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.append_many(STREAM, 1_000).await;
    test.query::<()>(&["XTRIM", &test.keys().messages(), "MAXLEN", "0"]).await;
    assert_eq!(depth(&test).await, (0, 0, None));
    // One entry more than the script counts itself, so that the script uses the lag from Redis.
    for number in 0..17 {
        test.append(STREAM, &format!("{}-0", 2_000 + number)).await;
    }
    assert_eq!(depth(&test).await, (17, 0, Some(2_000)));
}

#[tokio::test]
async fn entries_before_the_first_unacknowledged_one_are_acknowledged() {
    let test = TestStore::create().await;
    assert_eq!(acked_up_to(&test).await, None);
    test.create_group(STREAM).await;
    for entry in ["1-0", "2-0", "2-1", "3-0"] {
        test.append(STREAM, entry).await;
    }
    assert_eq!(acked_up_to(&test).await, Some(entry_id("0-0")));
    read(&mut test.consumer(STREAM, "one"), 3).await;
    test.hot.queue().ack_messages(&["1-0", "2-0"], &[], &[]).await.expect("Redis responds");
    assert_eq!(acked_up_to(&test).await, Some(entry_id("2-0")));
    test.hot.queue().ack_messages(&["2-1"], &[], &[]).await.expect("Redis responds");
    assert_eq!(acked_up_to(&test).await, Some(entry_id("2-1")));
}
