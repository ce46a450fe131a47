//! Maintenance of the queues.

use mayfly_core::{Consumption, Timestamp};
use mayfly_hot::{ReconciledMessages, Stream};
use redis::Script;

use super::{entry_ids, read};
use crate::{TestStore, messages::messages_to};

const STREAM: Stream = Stream::Messages;

/// Reads the next entries and acknowledges them.
async fn store(test: &TestStore, count: usize) {
    let batch = read(&mut test.consumer(STREAM, "one"), count).await;
    let delivered = entry_ids(&batch);
    test.hot.queue().ack_messages(&delivered, &[], &[]).await.expect("Redis responds");
}

/// Reconciles all waiting messages with the queue. Returns the numbers of deleted and discarded
/// messages.
async fn reconcile(test: &TestStore) -> (u64, u64) {
    let (mut cursor, mut deleted_total, mut discarded_total) = ("0".to_owned(), 0, 0);
    loop {
        let outcome = test.hot.queue().reconcile_waiting_messages(&cursor).await;
        let ReconciledMessages { cursor: next, deleted, discarded } = outcome.expect("a reply");
        deleted_total += deleted;
        discarded_total += discarded;
        if next == "0" {
            return (deleted_total, discarded_total);
        }
        cursor = next;
    }
}

/// Returns the lag of the workers' group as Redis reports it.
async fn find_lag(test: &TestStore, stream: Stream) -> Option<u64> {
    let groups: Vec<std::collections::HashMap<String, redis::Value>> =
        test.query(&["XINFO", "GROUPS", &test.keys().stream(stream)]).await;
    match groups[0]["lag"] {
        redis::Value::Int(lag) => u64::try_from(lag).ok(),
        _ => None,
    }
}

#[tokio::test]
async fn messages_with_entries_deleted_by_hand_stop_waiting() {
    let test = TestStore::create().await;
    assert_eq!(reconcile(&test).await, (0, 0), "without a stream");
    test.create_group(STREAM).await;
    let messages = messages_to("kiran", 8);
    test.accept(&messages).await;
    let entries = test.entries(&test.keys().messages()).await;
    let pending = read(&mut test.consumer(STREAM, "one"), 3).await;
    // A pending entry, an unread entry and the newest entry.
    for deleted in [1, 5, 7] {
        test.query::<()>(&["XDEL", &test.keys().messages(), &entries[deleted].0]).await;
    }
    assert_eq!(reconcile(&test).await, (0, 0), "the group has not passed the deleted entries");
    store(&test, 10).await;
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let queue = test.hot.queue();
    queue.ack_messages(&[], &[ids[3], ids[4], ids[6]], &[]).await.expect("Redis responds");
    // The group passes the newest entry only when it reads another entry.
    assert_eq!(reconcile(&test).await, (1, 0));
    test.accept(&messages_to("other", 1)).await;
    read(&mut test.consumer(STREAM, "one"), 1).await;
    assert_eq!(reconcile(&test).await, (1, 0));
    queue.ack_messages(&entry_ids(&pending), &[ids[0], ids[2]], &[]).await.expect("a reply");
    assert_eq!(reconcile(&test).await, (1, 0), "the pending entry is acknowledged");
    let waiting: u64 = test.query(&["HLEN", &test.keys().waiting()]).await;
    assert_eq!(waiting, 1, "one is pending");
}

#[tokio::test]
async fn entries_of_a_deleted_consumer_are_delivered_again() {
    // Ten years, the maximum.
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__CLAIM_AFTER", "87600h")]).await;
    test.create_group(STREAM).await;
    let messages = messages_to("kiran", 4);
    test.accept(&messages).await;
    let batch = read(&mut test.consumer(STREAM, "deleted"), 3).await;
    let delivered = entry_ids(&batch);
    let queue = test.hot.queue();
    queue.ack_messages(&delivered[..1], &[messages[0].id], &[]).await.expect("Redis responds");
    let stream = test.keys().messages();
    test.query::<()>(&["XGROUP", "DELCONSUMER", &stream, STREAM.group(), "deleted"]).await;
    assert_eq!(reconcile(&test).await, (0, 2));
    assert_eq!(reconcile(&test).await, (0, 0), "they are pending");
    let mut worker = test.consumer(STREAM, "two");
    let claim_after = test.settings.queue.claim_after;
    let claimed = worker.claim_batch(claim_after, 10).await.expect("Redis responds");
    assert_eq!(entry_ids(&claimed.0), delivered[1..]);
    assert_eq!(entry_ids(&read(&mut worker, 10).await).len(), 1);
}

#[tokio::test]
async fn many_waiting_messages_are_compared_in_steps() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.accept(&messages_to("kiran", 1)).await;
    let mut pipe = redis::pipe();
    for number in 0..5_000 {
        pipe.cmd("HSET").arg(test.keys().waiting()).arg(format!("deleted {number}")).arg("1-1");
        pipe.ignore();
    }
    pipe.query_async::<()>(&mut test.connection.clone()).await.expect("Redis responds");
    read(&mut test.consumer(STREAM, "one"), 1).await;
    let first = test.hot.queue().reconcile_waiting_messages("0").await.expect("Redis responds");
    assert!((1..3_000).contains(&first.deleted), "{first:?}");
    assert_eq!(first.deleted + reconcile(&test).await.0, 5_000);
}

#[tokio::test]
async fn lag_is_known_again_after_all_entries_were_read() {
    let test = TestStore::create().await;
    let queue = test.hot.queue();
    assert!(!queue.reconcile_lag(STREAM).await.expect("Redis responds"), "without a stream");
    test.create_group(STREAM).await;
    test.append_many(STREAM, 10).await;
    assert!(!queue.reconcile_lag(STREAM).await.expect("Redis responds"), "the lag is known");
    read(&mut test.consumer(STREAM, "one"), 5).await;
    // The newest entry, which the group never reaches.
    test.query::<()>(&["XDEL", &test.keys().messages(), "10-0"]).await;
    assert!(!queue.reconcile_lag(STREAM).await.expect("Redis responds"), "entries are unread");
    read(&mut test.consumer(STREAM, "one"), 5).await;
    queue.reconcile_lag(STREAM).await.expect("Redis responds");
    assert_eq!(find_lag(&test, STREAM).await, Some(0));
    test.append(STREAM, "11-0").await;
    assert_eq!(entry_ids(&read(&mut test.consumer(STREAM, "one"), 5).await), ["11-0"]);
    assert_eq!(find_lag(&test, STREAM).await, Some(0));
}

#[tokio::test]
async fn lag_is_estimated_behind_a_deleted_entry() {
    let test = TestStore::create().await;
    test.create_group(STREAM).await;
    test.accept(&messages_to("kiran", 100)).await;
    let entries = test.entries(&test.keys().messages()).await;
    test.query::<()>(&["XDEL", &test.keys().messages(), &entries[20].0]).await;
    read(&mut test.consumer(STREAM, "one"), 50).await;
    test.hot.queue().reconcile_lag(STREAM).await.expect("Redis responds");
    // Of the 100 entries, 50 were read and one was deleted.
    assert!(matches!(find_lag(&test, STREAM).await, Some(49 | 50)));
}

#[tokio::test]
async fn idle_consumers_without_pending_entries_are_removed() {
    let test = TestStore::create().await;
    let script =
        Script::new(include_str!("../../../../crates/hot/src/queue/remove_idle_consumers.lua"));
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
    // Times from a worker with a clock that is far behind.
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
