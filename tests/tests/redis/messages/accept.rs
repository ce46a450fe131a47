//! Acceptance of messages.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_core::Timestamp;
use mayfly_hot::{HotError, Stream, WriteOutcome};

use super::{FULL_INBOX, FULL_QUEUE, jsons, message, messages_to, write_request};
use crate::{TestStore, is_fresh};

#[tokio::test]
async fn accepted_message_is_queued_live_and_in_its_inbox() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":600}"#);
    test.accept(std::slice::from_ref(&message)).await;
    let body = String::from_utf8(message.to_json()).expect("JSON is text");
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    let entries = test.entries(&test.keys().messages()).await;
    let [(entry_id, fields)] = &entries[..] else { panic!("{entries:?}") };
    let meta = format!("{epoch} request-1 00-ab-cd-01");
    assert_eq!(*fields, [("message.v1".into(), body), ("meta".into(), meta)]);
    let waiting: String =
        test.query(&["HGET", &test.keys().waiting(), &message.id.to_string()]).await;
    assert_eq!(waiting, *entry_id);
    assert_eq!(test.ledger("messages.accepted").await.as_deref(), Some("1"));
    assert_eq!(test.ledger("messages.last").await.as_ref(), Some(entry_id));
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!((page.messages, page.has_more), (vec![message.to_json()], false));
}

#[tokio::test]
async fn copy_and_inbox_expire_with_the_message() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":600}"#);
    // Both clocks are read in whole milliseconds.
    let before = test.now().await.minus(Duration::from_millis(2));
    test.accept(std::slice::from_ref(&message)).await;
    let ttl = Duration::from_secs(600);
    assert!(is_fresh(test.ttl(&test.keys().message(message.id)).await, ttl));
    let inbox = test.keys().inbox("kiran");
    let second = Duration::from_secs(1);
    assert!(is_fresh(test.ttl(&inbox).await, ttl + second));
    let expires_at: i64 = test.query(&["ZSCORE", &inbox, &message.id.to_string()]).await;
    let expires_at = Timestamp::from_millis(expires_at);
    assert!((before.plus(ttl)..=test.now().await.plus(ttl)).contains(&expires_at));
}

#[tokio::test]
async fn inbox_lives_as_long_as_its_longest_message() {
    let test = TestStore::create().await;
    for (ttl, longest) in [(60, 60), (600, 600), (6, 600)] {
        let body = format!(r#"{{"username":"kiran","text":"hi","ttl":{ttl}}}"#);
        test.accept(&[message(&body)]).await;
        let remaining = test.ttl(&test.keys().inbox("kiran")).await;
        assert!(is_fresh(remaining, Duration::from_secs(longest + 1)), "{ttl}: {remaining:?}");
    }
}

#[tokio::test]
async fn message_without_a_username_is_in_no_inbox() {
    let test = TestStore::create().await;
    let message = message(r#"{"text":"hi"}"#);
    test.accept(std::slice::from_ref(&message)).await;
    assert!(test.is_live(message.id).await);
    let inboxes: Vec<String> = test.query(&["KEYS", &test.keys().inbox("*")]).await;
    assert_eq!(inboxes, Vec::<String>::new());
}

#[tokio::test]
async fn message_without_time_to_live_is_queued_and_not_live() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":0}"#);
    test.accept(std::slice::from_ref(&message)).await;
    assert!(!test.is_live(message.id).await);
    assert!(!test.has_key(&test.keys().inbox("kiran")).await);
    assert_eq!(test.find(message.id).await, Some(message.to_json()), "from the queue");
}

#[tokio::test]
async fn full_queue_rejects_requests_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "3")]).await;
    let messages = messages_to("kiran", 6);
    test.accept(&messages[..2]).await;
    assert_eq!(test.write(&messages[2..4]).await, FULL_QUEUE);
    test.accept(&messages[4..5]).await;
    assert_eq!(test.write(&messages[5..]).await, FULL_QUEUE);
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, [jsons(&messages[..2]), jsons(&messages[4..5])].concat());
    assert_eq!(test.hot.queue().length(Stream::Messages).await.expect("Redis responds"), 3);
    assert_eq!(test.ledger("messages.accepted").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn full_queue_accepts_again_after_an_acknowledgment() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "1")]).await;
    let messages = messages_to("kiran", 2);
    test.accept(&messages[..1]).await;
    assert_eq!(test.write(&messages[1..]).await, FULL_QUEUE);
    test.hot.queue().ack_messages(&[], &[messages[0].id], &[]).await.expect("Redis responds");
    test.accept(&messages[1..]).await;
}

#[tokio::test]
async fn full_inbox_rejects_requests_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_INBOX__MESSAGES_MAX", "2")]).await;
    test.accept(&messages_to("full", 2)).await;
    let requests = [
        messages_to("first", 1),
        messages_to("full", 1),
        [messages_to("other", 1), messages_to("full", 1)].concat(),
        messages_to("other", 2),
    ];
    let writer = test.message_writer();
    // In one round trip: a rejected request must not take up space in another inbox.
    let outcomes = join_all(requests.iter().map(|one| writer.write(write_request(one)))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|one| one.expect("Redis responds")).collect();
    let accepted = WriteOutcome::Accepted(None);
    assert_eq!(outcomes, [accepted.clone(), FULL_INBOX, FULL_INBOX, accepted]);
    let page = test.hot.inbox().list("other", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&requests[3]));
    assert!(!test.is_live(requests[2][0].id).await);
}

#[tokio::test]
async fn messages_without_inbox_or_time_to_live_need_no_space() {
    let test = TestStore::create_with(&[("MAYFLY_INBOX__MESSAGES_MAX", "1")]).await;
    let live = |username: &str| message(&format!(r#"{{"username":"{username}","text":"x"}}"#));
    let expired = message(r#"{"username":"full","text":"x","ttl":0}"#);
    test.accept(&[live("full")]).await;
    for messages in [
        vec![expired.clone()],
        vec![message(r#"{"text":"x"}"#)],
        vec![live("one"), expired.clone()],
        vec![expired.clone(), live("two")],
    ] {
        assert_eq!(test.write(&messages).await, WriteOutcome::Accepted(None), "{messages:?}");
    }
    assert_eq!(test.write(&[expired.clone(), live("full")]).await, FULL_INBOX);
}

#[tokio::test]
async fn expired_messages_do_not_fill_an_inbox() {
    let test = TestStore::create_with(&[("MAYFLY_INBOX__MESSAGES_MAX", "2")]).await;
    let expired = messages_to("kiran", 2);
    test.accept(&expired).await;
    test.let_expire(&expired).await;
    for message in &expired {
        let inbox = test.keys().inbox("kiran");
        test.query::<()>(&["ZADD", &inbox, "1", &message.id.to_string()]).await;
    }
    let live = messages_to("kiran", 2);
    test.accept(&live).await;
    assert_eq!(test.write(&messages_to("kiran", 1)).await, FULL_INBOX);
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&live));
    let size: usize = test.query(&["ZCARD", &test.keys().inbox("kiran")]).await;
    assert_eq!(size, 2);
}

#[tokio::test]
async fn expired_messages_leave_an_inbox_that_has_many() {
    let test = TestStore::create().await;
    let expired = messages_to("kiran", 31);
    for message in &expired {
        let inbox = test.keys().inbox("kiran");
        test.query::<()>(&["ZADD", &inbox, "1", &message.id.to_string()]).await;
    }
    let live = messages_to("kiran", 1);
    test.accept(&live).await;
    let ids: Vec<String> = test.query(&["ZRANGE", &test.keys().inbox("kiran"), "0", "-1"]).await;
    assert_eq!(ids, [live[0].id.to_string()]);
}

#[tokio::test]
async fn request_with_thousands_of_messages_is_accepted() {
    let test = TestStore::create().await;
    // More than the maximum number of arguments of a Lua function.
    let messages = messages_to("kiran", 9_000);
    test.accept(&messages).await;
    let inbox: u64 = test.query(&["ZCARD", &test.keys().inbox("kiran")]).await;
    let waiting: u64 = test.query(&["HLEN", &test.keys().waiting()]).await;
    assert_eq!((inbox, waiting), (9_000, 9_000));
}

#[tokio::test]
async fn requests_above_the_maximum_size_of_a_batch_are_all_accepted() {
    let test = TestStore::create_with(&[("MAYFLY_INGEST__BATCH_BYTES_MAX", "2KiB")]).await;
    let messages = messages_to("kiran", 50);
    let writer = test.message_writer();
    let requests =
        messages.iter().map(|one| writer.write(write_request(std::slice::from_ref(one))));
    for outcome in join_all(requests).await {
        assert_eq!(outcome.expect("Redis responds"), WriteOutcome::Accepted(None));
    }
    let page = test.hot.inbox().list("kiran", 100).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&messages));
}

#[tokio::test]
async fn requests_beyond_the_waiting_limit_are_rejected() {
    let test = TestStore::create_with(&[("MAYFLY_INGEST__WAITING_MAX", "2")]).await;
    let messages = messages_to("kiran", 3);
    let writer = test.message_writer();
    let requests =
        messages.iter().map(|one| writer.write(write_request(std::slice::from_ref(one))));
    // All are submitted before the batcher runs, because the test has one thread.
    let outcomes = join_all(requests).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(HotError::Overloaded)), "{outcomes:?}");
    assert!(!test.is_live(messages[2].id).await);
}

#[tokio::test]
async fn message_is_accepted_without_permission_to_publish() {
    let test = TestStore::create().await;
    let restricted = test.restrict(&["resetchannels"]).await;
    let messages = messages_to("kiran", 1);
    restricted.accept(&messages).await;
    let page = restricted.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&messages));
}

#[tokio::test]
async fn key_of_the_wrong_type_fails_the_write() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().messages(), "x"]).await;
    let written = test.message_writer().write(write_request(&messages_to("kiran", 1))).await;
    let error = written.expect_err("the stream is a string");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
}
