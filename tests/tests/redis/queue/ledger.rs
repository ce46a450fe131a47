//! The ledger and its epochs.

use mayfly_core::{
    Timestamp,
    plays::{Plays, split_plays},
};
use mayfly_hot::{PendingEntry, PlayWriteRequest, Stream, StreamLedger, WriterReport, Writers};
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
async fn epochs_ascend_by_the_clock_of_redis() {
    let test = TestStore::create().await;
    let millis = |epoch: &str| i64::from_str_radix(&epoch[..12], 16).expect("a time");
    let beginning = async {
        let epoch = begin_epoch(&test, "").await;
        (Timestamp::from_millis(millis(&epoch)), epoch)
    };
    let (_, epoch) = test.assert_now(beginning).await;
    let name = Uuid::try_parse(&epoch).expect("a UUID");
    assert_eq!(name.get_version_num(), 7);
    // As if a process with a clock that was ahead had begun the epoch.
    let ahead = format!("{:012x}{}", millis(&epoch) + 600_000, &epoch[12..]);
    test.query::<()>(&["SET", &test.keys().epoch(), &ahead]).await;
    let next = begin_epoch(&test, &ahead).await;
    assert_eq!(millis(&next), millis(&ahead) + 1);
    assert!(next > ahead);
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
async fn entry_that_was_deleted_by_hand_is_not_lost() {
    let test = TestStore::create().await;
    for entry in ["5-0", "6-0", "7-0", "8-0"] {
        test.append(Stream::Messages, entry).await;
    }
    let is_lost = async |entry| {
        test.hot.ledger().is_entry_lost(Stream::Messages, entry).await.expect("Redis responds")
    };
    test.query::<()>(&["XDEL", &test.keys().messages(), "7-0"]).await;
    for (entry, expected) in [("6-0", false), ("7-0", false), ("8-0", false), ("9-0", true)] {
        assert_eq!(is_lost(entry).await, expected, "{entry}");
    }
    test.query::<()>(&["XDEL", &test.keys().messages(), "8-0"]).await;
    assert!(!is_lost("8-0").await, "the newest entry");
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
    test.hot.inbox().take("kiran", 1, &origin(), None).await.expect("Redis responds");
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
    let plays = split_plays(r#"[{"video_id":"a"},{"video_id":"b"}]"#).expect("two plays");
    let plays = plays.parse().expect("valid plays");
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

/// Deletes all keys, as `FLUSHALL` does.
async fn lose_all_data(test: &TestStore) {
    let pattern = format!("{}:*", test.settings.redis.prefix);
    let keys: Vec<String> = test.query(&["KEYS", &pattern]).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    test.query::<()>(&[&["DEL"], &keys[..]].concat()).await;
}

async fn report_writer(test: &TestStore) -> Writers {
    let ledger = test.hot.ledger();
    ledger.report_writer("w").await.expect("Redis responds");
    ledger.list_writers().await.expect("Redis responds")
}

#[tokio::test]
async fn process_reports_the_final_counts_of_an_ended_epoch() {
    let test = TestStore::create().await;
    assert_eq!(report_writer(&test).await.active, ["w".to_owned()].into());
    test.accept(&messages_to("kiran", 2)).await;
    test.accept(&messages_to("kiran", 1)).await;
    let play = PlayWriteRequest { json: "{}".into(), ..write_request(5) };
    test.play_writer().write(play).await.expect("Redis responds");
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    assert_eq!(report_writer(&test).await.reports, []);
    lose_all_data(&test).await;
    assert_eq!(report_writer(&test).await.reports, [], "the process learns that the epoch ended");
    let report = |stream, accepted| WriterReport {
        writer: "w".into(),
        epoch: epoch.clone(),
        stream,
        accepted,
        unresolved: 0,
    };
    let expected = [report(Stream::Messages, 3), report(Stream::Plays, 5)];
    assert_eq!(report_writer(&test).await.reports, expected);
    for report in &expected {
        test.hot.ledger().remove_report(report).await.expect("Redis responds");
    }
    let writers = test.hot.ledger().list_writers().await.expect("Redis responds");
    assert_eq!((writers.active.len(), writers.reports.len()), (1, 0));
    // Redis may lose the report too.
    assert_eq!(report_writer(&test).await.reports, expected);
}

#[tokio::test]
async fn process_that_exited_is_removed() {
    let test = TestStore::create().await;
    let key = test.keys().ledger();
    let old = test.now().await.minus(std::time::Duration::from_secs(6)).as_millis().to_string();
    test.query::<()>(&["HSET", &key, "writer crashed", &old, "writer overwritten", "x"]).await;
    assert_eq!(report_writer(&test).await.active, ["w".to_owned()].into());
    test.hot.ledger().remove_writer("w").await.expect("Redis responds");
    let fields: Vec<String> = test.query(&["HKEYS", &key]).await;
    assert_eq!(fields, Vec::<String>::new());
}

#[tokio::test]
async fn entries_of_earlier_epochs_are_found() {
    let test = TestStore::create().await;
    let has_earlier = async |epoch: &str| {
        let found = test.hot.ledger().has_earlier_entries(Stream::Messages, epoch).await;
        found.expect("Redis responds")
    };
    test.accept(&messages_to("kiran", 2)).await;
    let first: String = test.query(&["GET", &test.keys().epoch()]).await;
    assert!(!has_earlier(&first).await, "without a group");
    let second = begin_epoch(&test, &first).await;
    test.accept(&messages_to("kiran", 1)).await;
    assert!(has_earlier(&second).await, "without a group");
    test.create_group(Stream::Messages).await;
    assert!(has_earlier(&second).await, "undelivered");
    let mut consumer = test.consumer(Stream::Messages, "one");
    let read = read(&mut consumer, 2).await;
    assert!(has_earlier(&second).await, "pending");
    let ids: Vec<&str> =
        read.deliveries.iter().map(|delivery| delivery.entry_id.as_str()).collect();
    test.hot.queue().ack_messages(&ids, &[], &[]).await.expect("Redis responds");
    assert!(!has_earlier(&second).await);
}
