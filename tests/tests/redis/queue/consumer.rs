//! Reading and claiming entries.

use std::time::Duration;

use mayfly_core::{
    MessageId,
    stream::{Entry, UnreadableEntry},
};
use mayfly_hot::{Consumer, ReadBatch, Stream};

use super::{NO_WAIT, entry_ids, read};
use crate::{
    TestStore,
    messages::{expiry_of, messages_to},
    origin,
};

async fn claim(consumer: &mut Consumer, idle: Duration) -> (ReadBatch, Vec<u64>) {
    let claimed = consumer.claim_batch(idle, 10).await.expect("Redis responds");
    let (batch, counts) = claimed;
    let counts = batch.deliveries.iter().map(|delivery| counts[&delivery.entry_id]).collect();
    (batch, counts)
}

/// Makes pending entries of a consumer look idle for a minute.
async fn let_idle(test: &TestStore, consumer: &str, entry_ids: &[&str]) {
    let stream = test.keys().messages();
    let claim = ["XCLAIM", &stream, Stream::Messages.group(), consumer, "0"];
    let idle = ["IDLE", "60000", "JUSTID"];
    test.query::<Vec<String>>(&[&claim[..], entry_ids, &idle[..]].concat()).await;
}

#[tokio::test]
async fn entries_are_delivered_decoded_and_in_order() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    let messages = messages_to("kiran", 2);
    let before = test.now().await;
    test.accept(&messages).await;
    test.hot.inbox().take("kiran", 10, &origin(), None).await.expect("Redis responds");
    let mut consumer = test.consumer(Stream::Messages, "one");
    let batch = read(&mut consumer, 10).await;
    let entries: Vec<_> = batch.deliveries.iter().map(|one| one.entry.clone()).collect();
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    let at = expiry_of(&test.find(ids[0]).await.expect("it was taken"));
    let expected = [
        Ok(Entry::Message(messages[0].to_json())),
        Ok(Entry::Message(messages[1].to_json())),
        Ok(Entry::Expire { at, ids }),
    ];
    assert_eq!(entries, expected);
    let kinds: Vec<_> = batch.deliveries.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["message.v1", "message.v1", "expire.v1"]);
    for delivery in &batch.deliveries {
        assert_eq!(delivery.meta.request_id, "request-1");
        assert_eq!(delivery.meta.traceparent, "00-ab-cd-01");
        assert!(delivery.arrived_at() >= before);
    }
    assert_eq!(batch.deliveries[2].channels, "lobby lobby");
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), Vec::<&str>::new());
}

#[tokio::test]
async fn each_entry_is_delivered_to_one_consumer() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    for entry in ["1-0", "2-0", "3-0"] {
        test.append(Stream::Messages, entry).await;
    }
    let (mut one, mut two) =
        (test.consumer(Stream::Messages, "one"), test.consumer(Stream::Messages, "two"));
    assert_eq!(entry_ids(&read(&mut one, 2).await), ["1-0", "2-0"]);
    assert_eq!(entry_ids(&read(&mut two, 2).await), ["3-0"]);
}

#[tokio::test]
async fn missing_group_is_created_and_starts_at_the_first_entry() {
    let test = TestStore::create().await;
    test.append(Stream::Messages, "1-0").await;
    let mut consumer = test.consumer(Stream::Messages, "one");
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), Vec::<&str>::new());
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), ["1-0"]);
    // The existing group keeps its position.
    test.create_group(Stream::Messages).await;
    test.append(Stream::Messages, "2-0").await;
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), ["2-0"]);
}

#[tokio::test]
async fn consumer_recovers_from_a_deleted_stream() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    let mut consumer = test.consumer(Stream::Messages, "one");
    read(&mut consumer, 1).await;
    test.query::<()>(&["DEL", &test.keys().messages()]).await;
    test.append(Stream::Messages, "1-0").await;
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), Vec::<&str>::new());
    assert_eq!(entry_ids(&read(&mut consumer, 10).await), ["1-0"]);
}

#[tokio::test]
async fn waiting_consumer_receives_an_entry_immediately() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    let mut consumer = test.consumer(Stream::Messages, "one");
    let (batch, ()) = tokio::join!(
        consumer.read_batch(10, Duration::from_secs(60)),
        test.append(Stream::Messages, "1-0"),
    );
    assert_eq!(entry_ids(&batch.expect("Redis responds")), ["1-0"]);
}

#[tokio::test]
async fn unacknowledged_entries_are_read_again_after_an_error() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    let mut consumer = test.consumer(Stream::Messages, "one");
    for entry in ["1-0", "2-0", "3-0"] {
        test.append(Stream::Messages, entry).await;
    }
    assert_eq!(entry_ids(&read(&mut consumer, 2).await), ["1-0", "2-0"]);
    let (stream, moved) = (test.keys().messages(), format!("{}:moved", test.keys().messages()));
    test.query::<()>(&["RENAME", &stream, &moved]).await;
    test.query::<()>(&["SET", &stream, "x"]).await;
    consumer.read_batch(2, NO_WAIT).await.expect_err("the stream is a string");
    test.query::<()>(&["RENAME", &moved, &stream]).await;
    test.hot.queue().ack_messages(&["1-0"], &[], &[]).await.expect("Redis responds");
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(read(&mut consumer, 2).await.deliveries.into_iter().map(|one| one.entry_id));
    }
    assert_eq!(found, ["2-0", "3-0"]);
}

#[tokio::test]
async fn idle_entries_are_claimed_with_their_delivery_count() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    for entry in ["1-0", "2-0", "3-0"] {
        test.append(Stream::Messages, entry).await;
    }
    read(&mut test.consumer(Stream::Messages, "crashed"), 2).await;
    read(&mut test.consumer(Stream::Messages, "busy"), 1).await;
    let_idle(&test, "crashed", &["1-0", "2-0"]).await;
    let mut other = test.consumer(Stream::Messages, "other");
    let (batch, counts) = claim(&mut other, Duration::from_secs(30)).await;
    assert_eq!((entry_ids(&batch), counts), (vec!["1-0", "2-0"], vec![2, 2]));
    let (again, _) = claim(&mut other, Duration::from_secs(30)).await;
    assert_eq!(entry_ids(&again), Vec::<&str>::new());
    let (all, counts) = claim(&mut other, Duration::ZERO).await;
    assert_eq!((entry_ids(&all), counts), (vec!["1-0", "2-0", "3-0"], vec![3, 3, 2]));
}

#[tokio::test]
async fn entries_that_a_consumer_is_processing_are_not_claimed() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    for entry in ["1-0", "2-0"] {
        test.append(Stream::Messages, entry).await;
    }
    read(&mut test.consumer(Stream::Messages, "slow"), 2).await;
    let_idle(&test, "slow", &["1-0", "2-0"]).await;
    let queue = test.hot.queue();
    queue.reset_idle(Stream::Messages, "slow", &["1-0"]).await.expect("Redis responds");
    let mut other = test.consumer(Stream::Messages, "other");
    let (batch, _) = claim(&mut other, Duration::from_secs(30)).await;
    assert_eq!(entry_ids(&batch), ["2-0"]);
}

#[tokio::test]
async fn deleted_entries_are_reported_instead_of_delivered() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    for entry in ["1-0", "2-0"] {
        test.append(Stream::Messages, entry).await;
    }
    read(&mut test.consumer(Stream::Messages, "crashed"), 2).await;
    test.query::<()>(&["XDEL", &test.keys().messages(), "1-0"]).await;
    let mut other = test.consumer(Stream::Messages, "other");
    let (batch, _) = claim(&mut other, Duration::ZERO).await;
    assert_eq!(entry_ids(&batch), ["2-0"]);
    assert_eq!(batch.deleted, ["1-0"]);
}

#[tokio::test]
async fn entry_of_an_unknown_kind_is_delivered_with_its_body() {
    let test = TestStore::create().await;
    test.create_group(Stream::Plays).await;
    let stream = test.keys().plays();
    test.query::<()>(&["XADD", &stream, "1-0", "plays.v9", "body", "meta", "e r t"]).await;
    let batch = read(&mut test.consumer(Stream::Plays, "one"), 1).await;
    let delivery = &batch.deliveries[0];
    let error = UnreadableEntry::UnknownKind("plays.v9".into());
    assert_eq!(delivery.entry, Err((error, b"body".to_vec())));
    assert_eq!((delivery.kind.as_str(), delivery.meta.epoch.as_str()), ("plays.v9", "e"));
}
