//! Rejection of clients that exceeded their rate limit, without running the script.

use std::time::{Duration, Instant};

use mayfly_hot::{
    ExhaustedClients, HotError, IdempotentRequest, MessageWriteRequest, MessageWriter,
    ReplayedWrite, WriteOutcome,
};

use super::{limit, remaining};
use crate::{
    TestStore,
    messages::{self, messages_to},
};

type Outcome = Result<WriteOutcome<ReplayedWrite>, HotError>;

/// Writes `count` messages of a client with a limit of 10 messages.
async fn write(writer: &MessageWriter, client: &str, count: usize, key: Option<&str>) -> Outcome {
    let idempotency = key.map(|key| {
        IdempotentRequest::new("route", client.into(), key.into(), &[&count.to_be_bytes()])
    });
    let request = messages::write_request(&messages_to("kiran", count));
    let limit = Some(limit(client, 10));
    writer.write(MessageWriteRequest { limit, idempotency, ..request }).await
}

/// Returns the number of remaining items if the request was rejected.
fn rejected(outcome: Outcome) -> Option<u32> {
    match outcome.expect("Redis responds") {
        WriteOutcome::RateLimited(status) => Some(status.remaining),
        _ => None,
    }
}

/// Makes every run of the script fail.
async fn break_script(test: &TestStore) {
    let epoch = test.keys().epoch();
    test.query::<()>(&["DEL", &epoch]).await;
    test.query::<()>(&["LPUSH", &epoch, "x"]).await;
}

#[tokio::test]
async fn known_client_is_rejected_without_running_the_script() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    write(&writer, "one", 8, None).await.expect("accepted");
    assert_eq!(rejected(write(&writer, "one", 3, None).await), Some(2));
    break_script(&test).await;
    write(&writer, "two", 1, None).await.expect_err("the script fails");
    // After one second, the writer confirms the rejection in Redis without running the script.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(rejected(write(&writer, "one", 3, None).await), Some(2));
        assert_eq!(rejected(write(&writer, "one", 3, Some("new key")).await), Some(2));
    }
    write(&writer, "one", 2, None).await.expect_err("two items remain, so the script runs");
}

#[tokio::test]
async fn request_above_the_limit_is_rejected_without_redis() {
    let test = TestStore::create_with(&[("MAYFLY_REDIS__URL", "redis://127.0.0.1:1")]).await;
    let writer = test.message_writer();
    for key in [None, Some("key")] {
        assert_eq!(rejected(write(&writer, "client", 11, key).await), Some(10));
        write(&writer, "client", 10, key).await.expect_err("Redis is unreachable");
    }
}

#[tokio::test]
async fn replay_is_found_while_its_client_is_rejected() {
    let test = TestStore::create().await;
    let writer = test.message_writer();
    let first = write(&writer, "client", 10, Some("key")).await.expect("Redis responds");
    assert!(matches!(first, WriteOutcome::Accepted(_)), "{first:?}");
    assert_eq!(rejected(write(&writer, "client", 1, None).await), Some(0));
    let again = write(&writer, "client", 10, Some("key")).await.expect("Redis responds");
    assert!(matches!(again, WriteOutcome::Replayed(_)), "{again:?}");
    assert_eq!(rejected(write(&writer, "client", 10, Some("other key")).await), Some(0));
}

#[tokio::test]
async fn client_is_accepted_again_in_a_new_window() {
    let test = TestStore::create().await;
    let (writer, key) = (test.message_writer(), test.keys().rate("messages", 3_600, "client"));
    write(&writer, "client", 10, None).await.expect("accepted");
    assert_eq!(rejected(write(&writer, "client", 1, None).await), Some(0));
    test.query::<()>(&["PEXPIRE", &key, "100"]).await;
    let accepted = loop {
        match write(&writer, "client", 4, None).await.expect("Redis responds") {
            WriteOutcome::Accepted(status) => break remaining(status),
            WriteOutcome::RateLimited(status) => assert_eq!(status.remaining, 0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(accepted, 6);
    assert_eq!(rejected(write(&writer, "client", 7, None).await), Some(6));
    assert_eq!(rejected(write(&writer, "client", 6, None).await), None, "six remained");
}

#[tokio::test]
async fn writers_of_a_process_share_rejections() {
    let test = TestStore::create().await;
    let clients = ExhaustedClients::default();
    let start = || MessageWriter::start(&test.hot, &test.settings, clients.clone());
    let (one, other) = (start(), start());
    write(&one, "client", 10, None).await.expect("accepted");
    assert_eq!(rejected(write(&one, "client", 1, None).await), Some(0));
    break_script(&test).await;
    assert_eq!(rejected(write(&other, "client", 1, None).await), Some(0));
}
