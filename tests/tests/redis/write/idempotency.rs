//! Idempotency keys of writes.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_core::Message;
use mayfly_hot::{
    IdempotentRequest, MessageWriteRequest, MessageWriter, PlayWriteRequest, ReplayedWrite, Stream,
    VisitWriteRequest, WriteOutcome,
};

use super::limit;
use crate::{
    TestStore, is_fresh,
    messages::{self, messages_to},
    plays, visits,
};

const ACCEPTED: WriteOutcome<ReplayedWrite> = WriteOutcome::Accepted(None);

fn request(key: &str, payload: &str) -> IdempotentRequest {
    IdempotentRequest::new("route", "client".into(), key.into(), &[payload.as_bytes()])
}

async fn write(
    writer: &MessageWriter,
    request: &IdempotentRequest,
    messages: &[Message],
) -> WriteOutcome<ReplayedWrite> {
    let idempotency = Some(request.clone());
    let request = MessageWriteRequest { idempotency, ..messages::write_request(messages) };
    writer.write(request).await.expect("Redis responds")
}

fn replayed(messages: &[Message]) -> WriteOutcome<ReplayedWrite> {
    let ids = messages.iter().map(|message| message.id).collect();
    WriteOutcome::Replayed(ReplayedWrite { accepted_at: messages[0].created_at, ids })
}

#[tokio::test]
async fn repeated_request_is_replayed_with_the_first_ids() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let (first, repeated) = (messages_to("kiran", 3), messages_to("kiran", 3));
    assert_eq!(write(&writer, &request("key", "x"), &first).await, ACCEPTED);
    for _ in 0..2 {
        let outcome = write(&writer, &request("key", "x"), &repeated).await;
        assert_eq!(outcome, replayed(&first));
    }
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, messages::jsons(&first));
}

#[tokio::test]
async fn concurrent_requests_with_one_key_are_accepted_once() {
    let test = TestStore::create().await;
    let writers: Vec<_> = (0..3).map(|_| test.message_writer()).collect();
    let outcomes = join_all((0..60).map(async |number: usize| {
        let messages = messages_to("kiran", 2);
        write(&writers[number % 3], &request("once", "x"), &messages).await
    }));
    let outcomes = outcomes.await;
    assert_eq!(outcomes.iter().filter(|one| **one == ACCEPTED).count(), 1);
    let is_replay = |one: &&WriteOutcome<_>| matches!(one, WriteOutcome::Replayed(_));
    assert_eq!(outcomes.iter().filter(is_replay).count(), 59);
    assert_eq!(test.hot.queue().length(Stream::Messages).await.expect("Redis responds"), 2);
}

#[tokio::test]
async fn key_with_another_payload_is_reported_as_reused() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let messages = messages_to("kiran", 1);
    assert_eq!(write(&writer, &request("key", "x"), &messages).await, ACCEPTED);
    let other = messages_to("kiran", 1);
    let outcome = write(&writer, &request("key", "y"), &other).await;
    assert_eq!(outcome, WriteOutcome::KeyReused);
    assert!(!test.is_live(other[0].id).await);
}

#[tokio::test]
async fn key_is_scoped_to_route_and_client() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    for (route, client) in [("one", "client"), ("two", "client"), ("one", "other")] {
        let request = IdempotentRequest::new(route, client.into(), "key".into(), &[b"x"]);
        let messages = messages_to("kiran", 1);
        assert_eq!(write(&writer, &request, &messages).await, ACCEPTED, "{route} {client}");
        assert_eq!(write(&writer, &request, &messages).await, replayed(&messages));
    }
}

#[tokio::test]
async fn outcome_is_stored_for_a_day_without_the_messages() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let messages = messages_to("kiran", 2);
    write(&writer, &request("key", "x"), &messages).await;
    let key = test.keys().idempotency("route", "client", "key");
    assert!(is_fresh(test.ttl(&key).await, Duration::from_secs(86_400)));
    let stored: Vec<u8> = test.query(&["GET", &key]).await;
    let at = messages[0].created_at.as_millis();
    let expected = format!("{at} {} {}", messages[0].id, messages[1].id);
    assert_eq!(&stored[32..], expected.as_bytes());
    test.query::<()>(&["DEL", &key]).await;
    let later = messages_to("kiran", 2);
    assert_eq!(write(&writer, &request("key", "x"), &later).await, ACCEPTED);
}

#[tokio::test]
async fn rejected_request_is_not_stored_under_its_key() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "1")]).await;
    let writer = test.message_writer();
    let outcome = write(&writer, &request("key", "x"), &messages_to("kiran", 2)).await;
    assert_eq!(outcome, messages::FULL_QUEUE);
    let messages = messages_to("kiran", 1);
    assert_eq!(write(&writer, &request("key", "y"), &messages).await, ACCEPTED);
}

#[tokio::test]
async fn replay_does_not_count_against_the_rate_limit() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let messages = messages_to("kiran", 1);
    let write = async || {
        let request = MessageWriteRequest {
            limit: Some(limit("client", 1)),
            idempotency: Some(request("key", "x")),
            ..messages::write_request(&messages)
        };
        writer.write(request).await.expect("Redis responds")
    };
    let first = write().await;
    assert!(matches!(first, WriteOutcome::Accepted(Some(_))), "{first:?}");
    assert_eq!(write().await, replayed(&messages));
    let sent: u32 = test.query(&["GET", &test.keys().rate("messages", 3_600, "client")]).await;
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn replay_succeeds_while_the_queue_is_full() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "1")]).await;
    let writer = test.message_writer();
    let messages = messages_to("kiran", 1);
    assert_eq!(write(&writer, &request("key", "x"), &messages).await, ACCEPTED);
    assert_eq!(write(&writer, &request("key", "x"), &messages).await, replayed(&messages));
}

#[tokio::test]
async fn outcome_of_an_unknown_format_affects_only_its_request() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let messages = messages_to("kiran", 2);
    write(&writer, &request("key", "x"), &messages[..1]).await;
    let key = test.keys().idempotency("route", "client", "key");
    test.query::<()>(&["APPEND", &key, " later"]).await;
    let (repeated, other) = (request("key", "x"), request("other", "x"));
    // In one round trip.
    let (repeated, other) = tokio::join!(
        write(&writer, &repeated, &messages[..1]),
        write(&writer, &other, &messages[1..]),
    );
    assert_eq!((repeated, other), (WriteOutcome::UnknownRecordFormat, ACCEPTED));
}

#[tokio::test]
async fn plays_with_one_key_are_accepted_once() {
    let test = TestStore::create().await;
    let writer = test.play_writer();
    let write = async |payload, count| {
        let idempotency = Some(request("key", payload));
        let write = PlayWriteRequest { idempotency, ..plays::write_request(count) };
        writer.write(write).await.expect("Redis responds")
    };
    assert_eq!(write("x", 3).await, WriteOutcome::Accepted(None));
    assert_eq!(write("x", 3).await, WriteOutcome::Replayed(()));
    assert_eq!(write("y", 2).await, WriteOutcome::KeyReused);
    assert_eq!(test.hot.plays().count_waiting().await.expect("Redis responds"), 3);
}

#[tokio::test]
async fn visits_with_one_key_are_accepted_once() {
    let test = TestStore::create().await;
    let writer = test.visit_writer();
    let write = async |payload, path| {
        let idempotency = Some(request("key", payload));
        let visits = vec![visits::visit(path, "v")];
        let write = VisitWriteRequest { idempotency, ..visits::write_request(visits) };
        writer.write(write).await.expect("Redis responds")
    };
    assert_eq!(write("x", "/1").await, WriteOutcome::Accepted(None));
    assert_eq!(write("x", "/2").await, WriteOutcome::Replayed(()));
    assert_eq!(write("y", "/3").await, WriteOutcome::KeyReused);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 1)]);
}
