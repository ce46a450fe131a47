//! The ledger and its epochs.

use mayfly_core::plays::{Plays, parse_plays};
use mayfly_hot::{PendingEntry, PlayWriteRequest, Stream, StreamLedger};
use uuid::Uuid;

use super::read;
use crate::{TestStore, messages::messages_to, now, origin, plays::write_request};

async fn begin_epoch(test: &TestStore, previous: &str) -> String {
    test.hot.ledger().begin_epoch(previous).await.expect("Redis responds")
}

#[tokio::test]
async fn one_of_concurrent_callers_begins_an_epoch() {
    let test = TestStore::create().await;
    let first = begin_epoch(&test, "").await;
    assert_eq!(begin_epoch(&test, "").await, first);
    let second = begin_epoch(&test, &first).await;
    assert_ne!(second, first);
    assert_eq!(begin_epoch(&test, &first).await, second);
    let stored: String = test.query(&["GET", &test.keys().epoch()]).await;
    assert_eq!(stored, second);
}

#[tokio::test]
async fn new_epoch_resets_the_accepted_items_and_keeps_the_newest_entry() {
    let test = TestStore::create().await;
    assert_eq!(test.hot.ledger().find(Stream::Messages).await.expect("Redis responds"), None);
    test.accept(&messages_to("kiran", 2)).await;
    let ledger = test.hot.ledger();
    let first = ledger.find(Stream::Messages).await.expect("Redis responds").expect("an epoch");
    assert_eq!(first.accepted, 2);
    let restored = ["messages.restored", "done", "plays.restored", "x", "plays.accepted", "3"];
    test.query::<()>(&[&["HSET", &test.keys().ledger()], &restored[..]].concat()).await;
    let epoch = begin_epoch(&test, &first.epoch).await;
    for field in ["messages.accepted", "messages.restored", "plays.accepted", "plays.restored"] {
        assert_eq!(test.ledger(field).await, None, "{field}");
    }
    let second = ledger.find_or_begin(Stream::Messages).await.expect("Redis responds");
    assert_eq!(second, StreamLedger { epoch, accepted: 0, newest: first.newest });
}

#[tokio::test]
async fn first_epoch_begins_with_the_first_accepted_item() {
    let test = TestStore::create().await;
    test.accept(&messages_to("kiran", 1)).await;
    let found = test.hot.ledger().find_or_begin(Stream::Plays).await.expect("Redis responds");
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    assert_eq!(found, StreamLedger { epoch, accepted: 0, newest: None });
}

#[tokio::test]
async fn newest_entry_is_lost_if_it_is_missing_and_older_ones_exist() {
    let test = TestStore::create().await;
    for entry in ["5-0", "6-0"] {
        test.append(Stream::Messages, entry).await;
    }
    for (entry, is_lost) in [("5-0", false), ("6-0", false), ("7-0", true), ("4-0", false)] {
        let found = test.hot.ledger().is_entry_lost(Stream::Messages, entry).await;
        assert_eq!(found.expect("Redis responds"), is_lost, "{entry}");
    }
}

#[tokio::test]
async fn queued_messages_are_counted_by_epoch() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 6);
    let ledger = test.hot.ledger();
    test.accept(&messages[..2]).await;
    let first = ledger.find_or_begin(Stream::Messages).await.expect("Redis responds");
    let epoch = begin_epoch(&test, &first.epoch).await;
    test.accept(&messages[2..]).await;
    test.hot.inbox().take("kiran", 1, now(), &origin(), None).await.expect("Redis responds");
    let contents = ledger.count_queue(Stream::Messages, &epoch).await.expect("Redis responds");
    assert_eq!((contents.undelivered, contents.earlier), (4, 2), "without a group");
    test.create_group(Stream::Messages).await;
    read(&mut test.consumer(Stream::Messages, "one"), 3).await;
    let contents = ledger.count_queue(Stream::Messages, &epoch).await.expect("Redis responds");
    let pending = PendingEntry { id: messages[2].id.as_uuid(), items: 1 };
    assert_eq!((contents.undelivered, contents.earlier), (3, 2));
    assert_eq!(contents.pending, [pending]);
    let newest = first.newest.expect("an entry");
    let after = ledger.count_after(Stream::Messages, &epoch, &newest).await;
    assert_eq!(after.expect("Redis responds"), 4);
}

#[tokio::test]
async fn queued_plays_are_counted_by_item() {
    let test = TestStore::create().await;
    test.create_group(Stream::Plays).await;
    let plays = parse_plays(r#"[{"video_id":"a"},{"video_id":"b"}]"#).expect("valid plays");
    let writer = test.play_writer();
    let first = Uuid::now_v7();
    for id in [first, Uuid::now_v7()] {
        let json = Plays { id, enqueued_at: now(), plays: &plays }.to_json();
        let request = PlayWriteRequest { json: json.into(), ..write_request(plays.len()) };
        writer.write(request).await.expect("Redis responds");
    }
    let ledger = test.hot.ledger().find(Stream::Plays).await.expect("Redis responds");
    let StreamLedger { epoch, accepted, .. } = ledger.expect("an epoch");
    assert_eq!(accepted, 4);
    read(&mut test.consumer(Stream::Plays, "one"), 1).await;
    let contents = test.hot.ledger().count_queue(Stream::Plays, &epoch).await;
    let contents = contents.expect("Redis responds");
    assert_eq!((contents.undelivered, contents.earlier), (2, 0));
    assert_eq!(contents.pending, [PendingEntry { id: first, items: 2 }]);
}
