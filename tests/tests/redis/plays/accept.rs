//! Acceptance of plays.

use futures_util::future::join_all;
use mayfly_hot::{Capacity, HotError, Stream, WriteOutcome};

use super::write_request;
use crate::TestStore;

async fn write(test: &TestStore, count: usize) -> WriteOutcome {
    test.play_writer().write(write_request(count)).await.expect("Redis responds")
}

async fn count_waiting(test: &TestStore) -> u64 {
    test.hot.plays().count_waiting().await.expect("Redis responds")
}

const FULL: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::Queue);

#[tokio::test]
async fn plays_of_a_request_are_one_stream_entry() {
    let test = TestStore::create().await;
    assert_eq!(write(&test, 3).await, WriteOutcome::Accepted(None));
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    let entries = test.entries(&test.keys().plays()).await;
    let [(entry_id, fields)] = &entries[..] else { panic!("{entries:?}") };
    let meta = format!("{epoch} request-1 00-ab-cd-01");
    assert_eq!(*fields, [("plays.v1".into(), "{}".into()), ("meta".into(), meta)]);
    assert_eq!(test.ledger("plays.last").await.as_ref(), Some(entry_id));
}

#[tokio::test]
async fn accepted_plays_are_counted_in_the_ledger() {
    let test = TestStore::create().await;
    assert_eq!(count_waiting(&test).await, 0);
    let writer = test.play_writer();
    for outcome in join_all((1..=4).map(|count| writer.write(write_request(count)))).await {
        assert_eq!(outcome.expect("Redis responds"), WriteOutcome::Accepted(None));
    }
    assert_eq!(count_waiting(&test).await, 10);
    let ledger = test.hot.ledger().find(Stream::Plays).await.expect("Redis responds");
    assert_eq!(ledger.expect("an epoch").accepted, 10);
    assert_eq!(test.hot.queue().length(Stream::Plays).await.expect("Redis responds"), 4);
}

#[tokio::test]
async fn full_queue_rejects_requests_until_plays_are_counted() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "10")]).await;
    assert_eq!(write(&test, 8).await, WriteOutcome::Accepted(None));
    assert_eq!(write(&test, 3).await, FULL);
    assert_eq!(write(&test, 2).await, WriteOutcome::Accepted(None));
    assert_eq!(write(&test, 1).await, FULL);
    assert_eq!(count_waiting(&test).await, 10);
    let ledger = test.keys().ledger();
    test.query::<()>(&["HINCRBY", &ledger, "plays.waiting", "-8"]).await;
    assert_eq!(write(&test, 8).await, WriteOutcome::Accepted(None));
}

#[tokio::test]
async fn queue_limit_holds_within_a_batch() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "10")]).await;
    let writer = test.play_writer();
    let outcomes = join_all([6, 5, 4, 1].map(|count| writer.write(write_request(count)))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|one| one.expect("Redis responds")).collect();
    let accepted = WriteOutcome::Accepted(None);
    assert_eq!(outcomes, [accepted.clone(), FULL, accepted, FULL]);
}

#[tokio::test]
async fn key_of_the_wrong_type_fails_the_write() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().plays(), "x"]).await;
    let error = test.play_writer().write(write_request(1)).await.expect_err("a string");
    assert!(matches!(&error, HotError::Unavailable(cause) if cause.contains("WRONGTYPE")));
}
