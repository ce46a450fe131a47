//! Takes.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use mayfly_core::{Message, MessageId, Timestamp, limits::PAGE_BYTES_MAX};
use mayfly_hot::{IdempotentRequest, InboxPage, ReplayedTake, TakeOutcome};

use super::{expiry_of, json_expired_at, message, message_in, messages_to};
use crate::{TestStore, is_fresh, now, origin};

/// The deviation of a wrong clock.
const SKEW: Duration = Duration::from_secs(300);

async fn take_with(
    test: &TestStore,
    limit: usize,
    request: Option<&IdempotentRequest>,
) -> TakeOutcome {
    let taken = test.hot.inbox().take("kiran", limit, &origin(), request).await;
    taken.expect("Redis responds")
}

async fn take(test: &TestStore, limit: usize) -> InboxPage {
    match take_with(test, limit, None).await {
        TakeOutcome::Taken(page) => page,
        other => panic!("{other:?}"),
    }
}

fn request(key: &str, payload: &str) -> IdempotentRequest {
    IdempotentRequest::new("take", "client".into(), key.into(), &[payload.as_bytes()])
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.id).collect()
}

#[tokio::test]
async fn oldest_messages_are_taken_and_expire_at_the_time_of_the_take() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 5);
    test.accept(&messages).await;
    let taking = async {
        let page = take(&test, 3).await;
        (expiry_of(&page.messages[0]), page)
    };
    let (at, page) = test.assert_now(taking).await;
    let expected: Vec<_> = messages[..3].iter().map(|one| json_expired_at(one, at)).collect();
    assert_eq!((page.messages, page.has_more), (expected, true));
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(test.is_live(message.id).await, number >= 3);
    }
    let found = test.hot.messages().find_expired(&ids(&messages[2..4])).await;
    let expected = [Some(json_expired_at(&messages[2], at)), None];
    assert_eq!(found.expect("Redis responds"), expected);
    let rest = take(&test, 3).await;
    assert_eq!((rest.messages.len(), rest.has_more), (2, false));
    assert!(!test.has_key(&test.keys().inbox("kiran")).await);
    assert_eq!(take(&test, 3).await.messages.len(), 0);
}

#[tokio::test]
async fn taken_message_never_expires_in_the_future() {
    let test = TestStore::create().await;
    // As if processes with clocks five minutes ahead and behind had accepted the messages.
    let skewed = |at: Timestamp| {
        let message = message(r#"{"username":"kiran","text":"x"}"#);
        let life = message.expires_at.since(message.created_at);
        Message { created_at: at, expires_at: at.plus(life), ..message }
    };
    let (ahead, behind) = (now().plus(SKEW), now().minus(SKEW));
    let messages = [skewed(ahead), skewed(behind)];
    test.accept(&messages).await;
    let page = take(&test, 10).await;
    assert!(expiry_of(&page.messages[0]) <= test.now().await.plus(Duration::from_millis(2)));
    assert_eq!(page.messages[1], messages[1].to_json(), "it had already expired");
}

#[tokio::test]
async fn take_is_one_stream_entry_with_ids_and_channels() {
    let test = TestStore::create().await;
    let messages = ["lobby", "a:b"].map(|channel| message_in(channel, "kiran"));
    test.accept(&messages).await;
    let at = expiry_of(&take(&test, 10).await.messages[0]);
    let entries = test.entries(&test.keys().messages()).await;
    let (entry_id, fields) = entries.last().expect("an entry");
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    let body = format!("{} {} {}", at.as_millis(), messages[0].id, messages[1].id);
    let expected = [
        ("expire.v1".to_owned(), body),
        ("meta".to_owned(), format!("{epoch} request-1 00-ab-cd-01")),
        ("channels".to_owned(), "lobby a:b".to_owned()),
    ];
    assert_eq!((entries.len(), &fields[..]), (3, &expected[..]));
    assert_eq!(test.ledger("messages.last").await.as_ref(), Some(entry_id));
    assert_eq!(test.ledger("messages.accepted").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn concurrent_takes_return_each_message_once() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 300);
    test.accept(&messages).await;
    let pages = join_all((0..20).map(|number| take(&test, 10 + number))).await;
    let taken: Vec<_> = pages.into_iter().flat_map(|page| page.messages).collect();
    let distinct: HashSet<_> = taken.iter().map(|json| &json[..50]).collect();
    assert_eq!(distinct.len(), taken.len());
    let rest = take(&test, 1_000).await;
    assert_eq!(taken.len() + rest.messages.len(), 300);
}

#[tokio::test]
async fn expired_messages_are_skipped_and_do_not_count_as_more() {
    let test = TestStore::create().await;
    // The first step of a take reads 64 IDs.
    let messages = messages_to("kiran", 70);
    test.accept(&messages).await;
    test.let_expire(&messages[..66]).await;
    test.let_expire(&messages[68..]).await;
    let first = take(&test, 1).await;
    assert_eq!((first.messages.len(), first.has_more), (1, true));
    let second = take(&test, 1).await;
    assert_eq!((second.messages.len(), second.has_more), (1, false));
}

#[tokio::test]
async fn take_with_a_key_skips_expired_messages() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 203);
    test.accept(&messages).await;
    test.let_expire(&messages[..200]).await;
    let TakeOutcome::Taken(first) = take_with(&test, 1, Some(&request("key", ""))).await else {
        panic!("the key is new")
    };
    assert_eq!((first.messages.len(), first.has_more), (1, true));
    for has_more in [true, false] {
        let page = take(&test, 1).await;
        assert_eq!((page.messages.len(), page.has_more), (1, has_more));
    }
}

#[tokio::test]
async fn take_continues_over_several_steps() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 130);
    test.accept(&messages).await;
    test.let_expire(&messages[..60]).await;
    let page = take(&test, 66).await;
    assert_eq!((page.messages.len(), page.has_more), (66, true));
    assert_eq!(take(&test, 66).await.messages.len(), 4);
}

#[tokio::test]
async fn take_is_at_most_4_mib_and_expires_only_returned_messages() {
    let test = TestStore::create().await;
    let body = format!(r#"{{"username":"kiran","data":"{}"}}"#, "x".repeat(60 * 1_024));
    let messages: Vec<_> = (0..80).map(|_| message(&body)).collect();
    test.accept(&messages).await;
    let first = take(&test, 100).await;
    let bytes: usize = first.messages.iter().map(Vec::len).sum();
    assert!(first.has_more && bytes <= PAGE_BYTES_MAX, "{bytes}");
    let second = take(&test, 100).await;
    assert_eq!((first.messages.len() + second.messages.len(), second.has_more), (80, false));
}

#[tokio::test]
async fn repeated_take_with_a_key_is_replayed() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 5);
    test.accept(&messages).await;
    for (key, from, has_more) in [("one", 0, true), ("two", 3, false)] {
        let request = request(key, "limit 3");
        let TakeOutcome::Taken(page) = take_with(&test, 3, Some(&request)).await else {
            panic!("{key} is new")
        };
        let expected = &messages[from..messages.len().min(from + 3)];
        assert_eq!((page.messages.len(), page.has_more), (expected.len(), has_more), "{key}");
        let TakeOutcome::Replayed(replayed) = take_with(&test, 3, Some(&request)).await else {
            panic!("{key} is repeated")
        };
        assert_eq!(replayed, ReplayedTake { ids: ids(expected), has_more }, "{key}");
    }
}

#[tokio::test]
async fn concurrent_takes_with_one_key_take_once() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 10);
    test.accept(&messages).await;
    let request = request("once", "");
    let takes = join_all((0..16).map(|_| take_with(&test, 2, Some(&request)))).await;
    let expected = ReplayedTake { ids: ids(&messages[..2]), has_more: true };
    let is_replayed = |take: &&TakeOutcome| match take {
        TakeOutcome::Replayed(replayed) => *replayed == expected,
        _ => false,
    };
    assert_eq!(takes.iter().filter(is_replayed).count(), 15, "{takes:?}");
    assert_eq!(take(&test, 10).await.messages.len(), 8);
}

#[tokio::test]
async fn key_of_another_take_is_reported_as_reused() {
    let test = TestStore::create().await;
    test.accept(&messages_to("kiran", 2)).await;
    take_with(&test, 1, Some(&request("key", "limit 1"))).await;
    let reused = take_with(&test, 2, Some(&request("key", "limit 2"))).await;
    assert!(matches!(reused, TakeOutcome::KeyReused), "{reused:?}");
    assert_eq!(take(&test, 10).await.messages.len(), 1);
}

#[tokio::test]
async fn outcome_of_a_take_is_stored_for_ten_minutes_without_messages() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 1);
    test.accept(&messages).await;
    take_with(&test, 1, Some(&request("key", ""))).await;
    let key = test.keys().idempotency("take", "client", "key");
    assert!(is_fresh(test.ttl(&key).await, Duration::from_secs(600)));
    let stored: Vec<u8> = test.query(&["GET", &key]).await;
    assert_eq!(&stored[32..], format!("all {}", messages[0].id).as_bytes());
    test.query::<()>(&["DEL", &key]).await;
    let again = take_with(&test, 1, Some(&request("key", ""))).await;
    assert!(matches!(&again, TakeOutcome::Taken(page) if page.messages.is_empty()), "{again:?}");
}

#[tokio::test]
async fn take_of_an_empty_inbox_is_not_stored_under_its_key() {
    let test = TestStore::create().await;
    let request = request("key", "");
    take_with(&test, 1, Some(&request)).await;
    assert!(!test.has_key(&test.keys().idempotency("take", "client", "key")).await);
    test.accept(&messages_to("kiran", 1)).await;
    let taken = take_with(&test, 1, Some(&request)).await;
    assert!(matches!(&taken, TakeOutcome::Taken(page) if page.messages.len() == 1), "{taken:?}");
}

#[tokio::test]
async fn take_with_a_key_is_replayed_from_an_empty_inbox() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 1);
    test.accept(&messages).await;
    let request = request("key", "");
    take_with(&test, 10, Some(&request)).await;
    let replayed = take_with(&test, 10, Some(&request)).await;
    assert!(matches!(&replayed, TakeOutcome::Replayed(one) if one.ids == ids(&messages)));
}
