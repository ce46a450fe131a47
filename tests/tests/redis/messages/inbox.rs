//! Listing inboxes.

use mayfly_core::limits::PAGE_BYTES_MAX;
use mayfly_hot::InboxPage;

use super::{jsons, message, messages_to};
use crate::TestStore;

async fn list(test: &TestStore, username: &str, limit: usize) -> InboxPage {
    test.hot.inbox().list(username, limit).await.expect("Redis responds")
}

#[tokio::test]
async fn oldest_messages_are_listed_and_stay() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 100);
    test.accept(&messages).await;
    for _ in 0..2 {
        for (limit, has_more) in [(1, true), (70, true), (100, false), (1_000, false)] {
            let page = list(&test, "kiran", limit).await;
            assert_eq!(page.messages, jsons(&messages[..limit.min(100)]));
            assert_eq!(page.has_more, has_more, "{limit}");
        }
    }
}

#[tokio::test]
async fn messages_are_ordered_by_acceptance_and_not_by_expiry() {
    let test = TestStore::create().await;
    let ttls = [600, 60, 6_000];
    let messages =
        ttls.map(|ttl| message(&format!(r#"{{"username":"kiran","text":"hi","ttl":{ttl}}}"#)));
    test.accept(&messages).await;
    assert_eq!(list(&test, "kiran", 10).await.messages, jsons(&messages));
}

#[tokio::test]
async fn usernames_are_distinguished_exactly() {
    let test = TestStore::create().await;
    for username in ["kiran", "Kiran", "kiran ", "k:n", "k}n{", "*"] {
        let messages = messages_to(username, 1);
        test.accept(&messages).await;
        assert_eq!(list(&test, username, 10).await.messages, jsons(&messages), "{username}");
    }
    assert_eq!(list(&test, "k*", 10).await.messages.len(), 0);
}

#[tokio::test]
async fn expired_messages_are_not_listed() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 70);
    test.accept(&messages).await;
    test.let_expire(&messages[..68]).await;
    let page = list(&test, "kiran", 1).await;
    assert_eq!((page.messages, page.has_more), (jsons(&messages[68..69]), true));
}

#[tokio::test]
async fn listing_is_at_most_4_mib() {
    let test = TestStore::create().await;
    let body = format!(r#"{{"username":"kiran","data":"{}"}}"#, "x".repeat(60 * 1_024));
    let messages: Vec<_> = (0..80).map(|_| message(&body)).collect();
    test.accept(&messages).await;
    let page = list(&test, "kiran", 100).await;
    let bytes: usize = page.messages.iter().map(Vec::len).sum();
    assert!(page.has_more && bytes <= PAGE_BYTES_MAX, "{bytes}");
    assert!(bytes > PAGE_BYTES_MAX - 64 * 1_024, "{bytes}");
}
