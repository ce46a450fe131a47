//! Rate limits.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_hot::{
    IdempotentRequest, MessageWriteRequest, MessageWriter, PlayWriteRequest, RateLimitStatus,
    VisitWriteRequest, WriteOutcome,
};

use super::{limit, rate, remaining};
use crate::{
    TestStore, is_fresh,
    messages::{self, messages_to},
    plays, visits,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Writes `count` messages of a client. Returns the number of remaining items if the messages are
/// accepted, and the status if the messages are rejected.
async fn write(
    writer: &MessageWriter,
    client: &str,
    items_max: u32,
    count: usize,
) -> Result<u32, RateLimitStatus> {
    let request = messages::write_request(&messages_to("kiran", count));
    let limit = Some(limit(client, items_max));
    let outcome = writer.write(MessageWriteRequest { limit, ..request }).await;
    match outcome.expect("Redis responds") {
        WriteOutcome::Accepted(status) => Ok(remaining(status)),
        WriteOutcome::RateLimited(status) => Err(status),
        other => panic!("{other:?}"),
    }
}

fn rate_key(test: &TestStore, kind: &str, client: &str) -> String {
    test.keys().rate(kind, 3_600, client)
}

#[tokio::test]
async fn request_beyond_the_remaining_items_is_rejected_as_a_whole() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    assert_eq!(write(&writer, "client", 10, 8).await, Ok(2));
    let rejected = write(&writer, "client", 10, 3).await.expect_err("only 2 remain");
    assert_eq!((rejected.rate, rejected.remaining), (rate(10), 2));
    assert!(is_fresh(rejected.resets_in, HOUR));
    assert_eq!(write(&writer, "client", 10, 2).await, Ok(0));
    let rejected = write(&writer, "client", 10, 1).await.expect_err("none remain");
    assert_eq!(rejected.remaining, 0);
    let page = test.hot.inbox().list("kiran", 100).await.expect("Redis responds");
    assert_eq!(page.messages.len(), 10);
}

#[tokio::test]
async fn window_begins_with_the_first_item_and_is_not_extended() {
    let test = TestStore::create().await;
    let (writer, key) = (test.message_writer(), rate_key(&test, "messages", "client"));
    write(&writer, "client", 2, 1).await.expect("accepted");
    assert!(is_fresh(test.ttl(&key).await, HOUR));
    test.query::<()>(&["PEXPIRE", &key, "60000"]).await;
    write(&writer, "client", 2, 1).await.expect("accepted");
    let rejected = write(&writer, "client", 2, 1).await.expect_err("none remain");
    assert!(is_fresh(rejected.resets_in, Duration::from_secs(60)), "{rejected:?}");
    assert!(is_fresh(test.ttl(&key).await, Duration::from_secs(60)));
    test.query::<()>(&["DEL", &key]).await;
    // Another process, which has not seen the rejection.
    let writer = test.message_writer();
    assert_eq!(write(&writer, "client", 2, 2).await, Ok(0), "in the next window");
    let rejected = write(&writer, "client", 2, 1).await.expect_err("none remain");
    assert!(is_fresh(rejected.resets_in, HOUR), "{rejected:?}");
    assert!(is_fresh(test.ttl(&key).await, HOUR));
}

#[tokio::test]
async fn rejected_request_begins_no_window() {
    let test = TestStore::create().await;
    let rejected = write(&test.message_writer(), "client", 2, 3).await.expect_err("too many");
    assert_eq!((rejected.remaining, rejected.resets_in), (2, HOUR));
    assert!(!test.has_key(&rate_key(&test, "messages", "client")).await);
}

#[tokio::test]
async fn limit_is_exact_for_concurrent_requests_and_writers() {
    let test = TestStore::create().await;
    let writers: Vec<_> = (0..3).map(|_| test.message_writer()).collect();
    let requests = (0..60).map(|number| write(&writers[number % 3], "client", 25, 1));
    let outcomes = join_all(requests).await;
    let mut accepted: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
    accepted.sort_unstable();
    assert_eq!(accepted, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_with_different_keys_count_individually_in_one_batch() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let requests = (0..60).map(|number: usize| {
        let key = number.to_string();
        let idempotency = IdempotentRequest::new("route", "client".into(), key, &[b"x"]);
        let request = messages::write_request(&messages_to("kiran", 1));
        let (limit, idempotency) = (Some(limit("client", 25)), Some(idempotency));
        writer.write(MessageWriteRequest { limit, idempotency, ..request })
    });
    let outcomes = join_all(requests).await;
    let mut accepted: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.expect("Redis responds") {
            WriteOutcome::Accepted(status) => Some(remaining(status)),
            _ => None,
        })
        .collect();
    accepted.sort_unstable();
    assert_eq!(accepted, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn clients_have_separate_limits() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let requests = ["one", "two", "one", "two"].map(|client| write(&writer, client, 1, 1));
    let outcomes: Vec<_> = join_all(requests).await.into_iter().map(Result::ok).collect();
    assert_eq!(outcomes, [Some(0), Some(0), None, None]);
}

#[tokio::test]
async fn messages_plays_and_visits_have_separate_limits() {
    let test = TestStore::create().await;
    let (plays, visits) = (test.play_writer(), test.visit_writer());
    assert_eq!(write(&test.message_writer(), "client", 4, 1).await, Ok(3));
    let play = |count| {
        plays.write(PlayWriteRequest {
            limit: Some(limit("client", 4)),
            ..plays::write_request(count)
        })
    };
    let visit = |count| {
        let visitors = (0..count).map(|number| visits::visit("/", &format!("{count}.{number}")));
        let request = visits::write_request(visitors.collect());
        visits.write(VisitWriteRequest { limit: Some(limit("client", 4)), ..request })
    };
    for (count, left) in [(2, Ok(2)), (3, Err(2)), (1, Ok(1))] {
        for outcome in [play(count).await, visit(count).await] {
            let found = match outcome.expect("Redis responds") {
                WriteOutcome::Accepted(status) => Ok(remaining(status)),
                WriteOutcome::RateLimited(status) => Err(status.remaining),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, left, "{count}");
        }
    }
    for (kind, sent) in [("messages", 1), ("plays", 3), ("visits", 3)] {
        let stored: u32 = test.query(&["GET", &rate_key(&test, kind, "client")]).await;
        assert_eq!(stored, sent, "{kind}");
    }
}

#[tokio::test]
async fn request_rejected_for_another_reason_does_not_count() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "1")]).await;
    let request = messages::write_request(&messages_to("kiran", 2));
    let limited = MessageWriteRequest { limit: Some(limit("client", 5)), ..request };
    let outcome = test.message_writer().write(limited).await.expect("Redis responds");
    assert_eq!(outcome, messages::FULL_QUEUE);
    assert!(!test.has_key(&rate_key(&test, "messages", "client")).await);
}

#[tokio::test]
async fn request_without_a_limit_is_not_counted() {
    let test = TestStore::create().await;
    test.accept(&messages_to("kiran", 3)).await;
    let windows: Vec<String> = test.query(&["KEYS", &rate_key(&test, "*", "*")]).await;
    assert_eq!(windows, Vec::<String>::new());
}

#[tokio::test]
async fn counter_of_the_wrong_type_rejects_the_write() {
    let test = TestStore::create().await;
    test.query::<()>(&["LPUSH", &rate_key(&test, "messages", "client"), "x"]).await;
    let request = messages::write_request(&messages_to("kiran", 1));
    let limited = MessageWriteRequest { limit: Some(limit("client", 5)), ..request };
    let outcome = test.message_writer().write(limited).await.expect("Redis responds");
    assert!(matches!(&outcome, WriteOutcome::UnreadableKey { error, .. }
        if error.contains("WRONGTYPE")));
    assert!(!test.has_key(&test.keys().messages()).await, "nothing is written");
}
