//! The depth of a queue.

use mayfly_core::{EntryId, Timestamp};
use mayfly_hot::{QueueDepth, Stream};

use super::read;
use crate::{TestStore, entry_id};

const STREAM: Stream = Stream::Messages;

async fn depth(test: &TestStore) -> (u64, u64, Option<i64>) {
    let depth = test.hot.queue().depth(STREAM).await.expect("Redis responds");
    let QueueDepth { waiting, pending, oldest } = depth;
    (waiting, pending, oldest.map(Timestamp::as_millis))
}

async fn acked_up_to(test: &TestStore) -> Option<EntryId> {
    test.hot.queue().find_acked_up_to(STREAM).await.expect("Redis responds")
}

#[tokio::test]
async fn unacknowledged_entries_are_counted_delivered_or_not() {
    let test = TestStore::create().await;
    assert_eq!(depth(&test).await, (0, 0, None));
    for entry in ["1-0", "2-0", "3-0"] {
        test.append(STREAM, entry).await;
    }
    assert_eq!(depth(&test).await, (0, 0, None), "without a group");
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

#[tokio::test]
async fn depth_is_exact_after_an_entry_was_deleted() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.append_many(STREAM, 1_203).await;
    read(&mut test.consumer(STREAM, "one"), 2).await;
    for deleted in ["4-0", "5-0"] {
        test.query::<()>(&["XDEL", &test.keys().messages(), deleted]).await;
    }
    assert_eq!(depth(&test).await, (1_201, 2, Some(1)));
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
