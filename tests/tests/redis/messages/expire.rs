//! Deletions, and finding messages in each place where Redis stores them.

use std::time::Duration;

use mayfly_core::{Message, Timestamp, Username};
use mayfly_hot::{HotError, MessageFinder, Stream};

use super::{expiry_of, json_expired_at, message};
use crate::{TestStore, origin};

async fn delete(test: &TestStore, message: &Message, known: Option<&[u8]>) -> bool {
    let username = message.username.as_ref().map(Username::as_str);
    let deleted = test.hot.messages().delete(message.id, username, known, &origin()).await;
    deleted.expect("Redis responds")
}

/// Deletes a live message. Returns the time of the deletion by the clock of Redis.
async fn delete_now(test: &TestStore, message: &Message, known: Option<&[u8]>) -> Timestamp {
    let deleting = async {
        assert!(delete(test, message, known).await);
        (expiry_of(&test.find(message.id).await.expect("it is kept")), ())
    };
    test.assert_now(deleting).await.0
}

async fn accept_one(test: &TestStore) -> Message {
    let message = message(r#"{"username":"kiran","text":"hi","ttl":600}"#);
    test.accept(std::slice::from_ref(&message)).await;
    message
}

#[tokio::test]
async fn deleted_message_expires_once() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    let at = delete_now(&test, &message, None).await;
    assert!(!delete(&test, &message, None).await);
    assert!(!test.is_live(message.id).await);
    assert!(!test.has_key(&test.keys().inbox("kiran")).await);
    assert_eq!(test.find(message.id).await, Some(json_expired_at(&message, at)));
    assert_eq!(test.hot.queue().length(Stream::Messages).await.expect("Redis responds"), 2);
}

#[tokio::test]
async fn message_without_an_inbox_is_deleted() {
    let test = TestStore::create().await;
    let message = message(r#"{"text":"hi"}"#);
    test.accept(std::slice::from_ref(&message)).await;
    assert!(delete(&test, &message, None).await);
    assert!(!test.is_live(message.id).await);
}

#[tokio::test]
async fn expired_message_is_not_deleted_and_leaves_its_inbox() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    test.let_expire(std::slice::from_ref(&message)).await;
    assert!(!delete(&test, &message, None).await);
    assert!(!test.has_key(&test.keys().inbox("kiran")).await);
    assert_eq!(test.hot.queue().length(Stream::Messages).await.expect("Redis responds"), 1);
}

#[tokio::test]
async fn message_known_from_the_cold_store_is_deleted_without_a_copy() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":600}"#);
    let at = delete_now(&test, &message, Some(&message.to_json())).await;
    assert_eq!(test.find(message.id).await, Some(json_expired_at(&message, at)));
    // The deletion is the first entry of an epoch.
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    let entries = test.entries(&test.keys().messages()).await;
    assert_eq!(entries[0].1[1], ("meta".into(), format!("{epoch} request-1 00-ab-cd-01")));
}

#[tokio::test]
async fn message_known_to_be_expired_is_not_deleted() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":60}"#);
    // As if it had been accepted an hour ago.
    let (hour, life) = (Duration::from_secs(3_600), Duration::from_secs(60));
    let created_at = test.now().await.minus(hour);
    let expired = Message { created_at, expires_at: created_at.plus(life), ..message };
    assert!(!delete(&test, &expired, Some(&expired.to_json())).await);
    assert_eq!(test.hot.queue().length(Stream::Messages).await.expect("Redis responds"), 0);
}

#[tokio::test]
async fn deletion_never_extends_the_time_to_live() {
    let test = TestStore::create().await;
    let message = message(r#"{"username":"kiran","text":"hi","ttl":600}"#);
    // As if a process with a clock that is an hour behind had accepted the message.
    let created_at = message.created_at.minus(Duration::from_secs(3_600));
    let expires_at = created_at.plus(Duration::from_secs(600));
    let message = Message { created_at, expires_at, ..message };
    test.accept(std::slice::from_ref(&message)).await;
    assert!(delete(&test, &message, None).await);
    assert_eq!(test.find(message.id).await, Some(message.to_json()));
}

#[tokio::test]
async fn message_is_found_until_it_is_acknowledged() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    let finder = MessageFinder::start(&test.hot);
    let copy = finder.find_copy(message.id).await.expect("Redis responds");
    assert_eq!(copy, Some(message.to_json()));
    test.let_expire(std::slice::from_ref(&message)).await;
    assert_eq!(finder.find_copy(message.id).await.expect("Redis responds"), None);
    assert_eq!(test.find(message.id).await, Some(message.to_json()));
    test.hot.queue().ack_messages(&[], &[message.id], &[]).await.expect("Redis responds");
    assert_eq!(test.find(message.id).await, None);
}

#[tokio::test]
async fn deleted_message_is_found_until_its_expiry_is_acknowledged() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    let at = delete_now(&test, &message, None).await;
    let queue = test.hot.queue();
    queue.ack_messages(&[], &[message.id], &[]).await.expect("Redis responds");
    assert_eq!(test.find(message.id).await, Some(json_expired_at(&message, at)));
    queue.ack_messages(&[], &[], &[message.id]).await.expect("Redis responds");
    assert_eq!(test.find(message.id).await, None);
    let found = test.hot.messages().find_expired(&[message.id]).await;
    assert_eq!(found.expect("Redis responds"), [None]);
}

#[tokio::test]
async fn deletion_succeeds_without_permission_to_publish() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    let restricted = test.restrict(&["resetchannels"]).await;
    assert!(delete(&restricted, &message, None).await);
    assert!(!test.is_live(message.id).await);
}

#[tokio::test]
async fn key_of_the_wrong_type_rejects_the_deletion_before_anything_changes() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    test.query::<()>(&["SET", &test.keys().taken(), "x"]).await;
    let deleted = test.hot.messages().delete(message.id, Some("kiran"), None, &origin()).await;
    let error = deleted.expect_err("the hash is a string");
    assert!(matches!(&error, HotError::Rejected(cause) if cause.code() == Some("WRONGTYPE")));
    assert!(test.is_live(message.id).await);
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages.len(), 1);
}

#[tokio::test]
async fn inbox_of_the_wrong_type_does_not_stop_the_deletion_of_its_messages() {
    let test = TestStore::create().await;
    let message = accept_one(&test).await;
    test.overwrite(&test.keys().inbox("kiran")).await;
    assert!(delete(&test, &message, None).await);
    assert!(!test.is_live(message.id).await);
    let entries = test.entries(&test.keys().messages()).await;
    assert_eq!(entries.len(), 2, "the deletion will reach Postgres");
}
