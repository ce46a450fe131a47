//! Acknowledgments and attempts.

use std::time::Duration;

use mayfly_hot::Stream;

use super::read;
use crate::{TestStore, is_fresh, messages::messages_to, origin};

#[tokio::test]
async fn acknowledged_messages_leave_nothing_in_the_queue() {
    let test = TestStore::create().await;
    test.create_group(Stream::Messages).await;
    let messages = messages_to("kiran", 3);
    test.accept(&messages).await;
    test.hot.inbox().take("kiran", 1, &origin(), None).await.expect("Redis responds");
    let batch = read(&mut test.consumer(Stream::Messages, "one"), 10).await;
    let entry_ids: Vec<_> = batch.deliveries.iter().map(|one| one.entry_id.as_str()).collect();
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let queue = test.hot.queue();
    queue.ack_messages(&entry_ids[..1], &ids[..1], &[]).await.expect("Redis responds");
    let depth = queue.depth(Stream::Messages).await.expect("Redis responds");
    assert_eq!((depth.waiting, depth.pending), (3, 3));
    let waiting: u64 = test.query(&["HLEN", &test.keys().waiting()]).await;
    assert_eq!(waiting, 2);
    // Repeated, as after a crash.
    queue.ack_messages(&entry_ids, &ids, &ids[..1]).await.expect("Redis responds");
    let depth = queue.depth(Stream::Messages).await.expect("Redis responds");
    assert_eq!((depth.waiting, depth.oldest), (0, None));
    for key in [test.keys().waiting(), test.keys().taken()] {
        assert!(!test.has_key(&key).await, "{key}");
    }
}

#[tokio::test]
async fn acknowledged_plays_are_subtracted_once() {
    let test = TestStore::create().await;
    test.create_group(Stream::Plays).await;
    for entry in ["1-0", "2-0"] {
        test.append(Stream::Plays, entry).await;
    }
    test.query::<()>(&["HSET", &test.keys().ledger(), "plays.waiting", "12"]).await;
    read(&mut test.consumer(Stream::Plays, "one"), 2).await;
    let queue = test.hot.queue();
    for _ in 0..2 {
        queue.ack_plays(&[("1-0", 5)]).await.expect("Redis responds");
        let waiting = test.hot.plays().count_waiting().await.expect("Redis responds");
        assert_eq!(waiting, 7);
    }
    queue.ack_plays(&[("1-0", 5), ("2-0", 7)]).await.expect("Redis responds");
    assert_eq!(test.hot.plays().count_waiting().await.expect("Redis responds"), 0);
}

#[tokio::test]
async fn attempts_are_counted_per_entry_for_a_day() {
    let test = TestStore::create().await;
    let queue = test.hot.queue();
    let count = async |stream, entry_id| {
        queue.count_attempt(stream, entry_id).await.expect("Redis responds")
    };
    for stream in Stream::ALL {
        assert_eq!(count(stream, "1-0").await, 1, "{stream:?}");
        assert_eq!(count(stream, "1-0").await, 2, "{stream:?}");
        assert_eq!(count(stream, "2-0").await, 1, "{stream:?}");
        let ttl = test.ttl(&test.keys().attempts(stream, "1-0")).await;
        assert!(is_fresh(ttl, Duration::from_secs(86_400)), "{ttl:?}");
        queue.clear_attempts(stream, "1-0").await.expect("Redis responds");
        assert_eq!(count(stream, "1-0").await, 1, "{stream:?}");
        assert_eq!(count(stream, "2-0").await, 2, "{stream:?}");
    }
}

#[tokio::test]
async fn attempts_are_counted_from_one_if_their_key_has_the_wrong_type() {
    let test = TestStore::create().await;
    test.overwrite(&test.keys().attempts(Stream::Messages, "1-0")).await;
    for attempts in 1..=3 {
        let counted = test.hot.queue().count_attempt(Stream::Messages, "1-0").await;
        assert_eq!(counted.expect("Redis responds"), attempts);
    }
}
