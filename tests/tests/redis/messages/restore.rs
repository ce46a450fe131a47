//! Restoring messages after a loss of data.

use std::time::Duration;

use mayfly_core::Message;
use mayfly_hot::{LiveMessage, RestoreProgress};

use super::{jsons, message, messages_to};
use crate::{TestStore, is_fresh, now, origin};

const REMAINING: Duration = Duration::from_secs(300);

fn live(message: &Message) -> LiveMessage {
    LiveMessage {
        id: message.id,
        username: message.username.as_ref().map(|username| username.as_str().to_owned()),
        json: message.to_json(),
        expires_at: now().plus(REMAINING),
    }
}

async fn begin_epoch(test: &TestStore) -> String {
    test.hot.ledger().begin_epoch("").await.expect("Redis responds")
}

async fn restore(
    test: &TestStore,
    epoch: &str,
    (from, to): (&RestoreProgress, &RestoreProgress),
    messages: &[Message],
) -> bool {
    let messages: Vec<_> = messages.iter().map(live).collect();
    let restored = test.hot.messages().restore_page(epoch, from, to, &messages).await;
    restored.expect("Redis responds")
}

fn start() -> RestoreProgress {
    RestoreProgress::UpTo(String::new())
}

#[tokio::test]
async fn pages_restore_copies_and_inboxes_in_sequence() {
    let test = TestStore::create().await;
    let epoch = begin_epoch(&test).await;
    let (kiran, other) = (messages_to("kiran", 3), message(r#"{"text":"no inbox"}"#));
    let middle = RestoreProgress::UpTo(kiran[1].id.to_string());
    assert!(restore(&test, &epoch, (&start(), &middle), &kiran[..2]).await);
    let progress = test.hot.messages().find_restore_progress().await.expect("Redis responds");
    assert_eq!(progress, middle);
    let rest = [kiran[2].clone(), other.clone()];
    assert!(restore(&test, &epoch, (&middle, &RestoreProgress::Done), &rest).await);
    let progress = test.hot.messages().find_restore_progress().await.expect("Redis responds");
    assert_eq!(progress, RestoreProgress::Done);
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&kiran));
    assert!(test.is_live(other.id).await);
    for key in [test.keys().message(other.id), test.keys().inbox("kiran")] {
        assert!(is_fresh(test.ttl(&key).await, REMAINING), "{key}");
    }
}

#[tokio::test]
async fn page_is_restored_by_one_worker() {
    let test = TestStore::create().await;
    let epoch = begin_epoch(&test).await;
    let messages = messages_to("kiran", 2);
    let step = (&start(), &RestoreProgress::Done);
    assert!(restore(&test, &epoch, step, &messages[..1]).await);
    assert!(!restore(&test, &epoch, step, &messages[1..]).await);
    assert!(!test.is_live(messages[1].id).await);
}

#[tokio::test]
async fn page_of_an_earlier_epoch_is_ignored() {
    let test = TestStore::create().await;
    let earlier = begin_epoch(&test).await;
    test.hot.ledger().begin_epoch(&earlier).await.expect("Redis responds");
    let messages = messages_to("kiran", 1);
    assert!(!restore(&test, &earlier, (&start(), &RestoreProgress::Done), &messages).await);
    assert!(!test.is_live(messages[0].id).await);
    let progress = test.hot.messages().find_restore_progress().await.expect("Redis responds");
    assert_eq!(progress, start());
}

#[tokio::test]
async fn live_and_deleted_messages_are_left_unchanged() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 2);
    test.accept(&messages).await;
    let deleted = test.hot.messages().delete(messages[1].id, Some("kiran"), None, &origin()).await;
    assert!(deleted.expect("Redis responds"));
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    let changed = Message { text: None, ..messages[0].clone() };
    let page = [changed, messages[1].clone()];
    assert!(restore(&test, &epoch, (&start(), &RestoreProgress::Done), &page).await);
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&messages[..1]));
}

#[tokio::test]
async fn message_that_expired_by_the_clock_of_redis_is_not_restored() {
    let test = TestStore::create().await;
    let epoch = begin_epoch(&test).await;
    let messages = messages_to("kiran", 2);
    let live = LiveMessage { expires_at: test.now().await.plus(REMAINING), ..live(&messages[0]) };
    let expired = LiveMessage { expires_at: test.now().await, ..self::live(&messages[1]) };
    let step = (&start(), &RestoreProgress::Done);
    let page = [live, expired];
    let restored = test.hot.messages().restore_page(&epoch, step.0, step.1, &page).await;
    assert!(restored.expect("Redis responds"));
    assert!(is_fresh(test.ttl(&test.keys().message(messages[0].id)).await, REMAINING));
    assert!(!test.is_live(messages[1].id).await);
}

#[tokio::test]
async fn inbox_of_the_wrong_type_does_not_stop_the_restore_of_other_inboxes() {
    let test = TestStore::create().await;
    let epoch = begin_epoch(&test).await;
    test.overwrite(&test.keys().inbox("overwritten")).await;
    let messages = [messages_to("overwritten", 1), messages_to("kiran", 1)].concat();
    assert!(restore(&test, &epoch, (&start(), &RestoreProgress::Done), &messages).await);
    for message in &messages {
        assert!(test.is_live(message.id).await);
    }
    let page = test.hot.inbox().list("kiran", 10).await.expect("Redis responds");
    assert_eq!(page.messages, jsons(&messages[1..]));
}
