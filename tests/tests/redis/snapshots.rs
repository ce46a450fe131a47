//! The statistics, state feeds and the totals of the pulse.

use std::time::Duration;

use mayfly_core::{Consumption, StateFeed, Timestamp};
use mayfly_hot::{FanoutReport, Lease, PublishOutcome, Stream};

use crate::{TestStore, is_fresh, messages::messages_to, now};

fn stats(at: Timestamp) -> Vec<u8> {
    format!(r#"{{"generated_at":"{at}"}}"#).into_bytes()
}

async fn publish(test: &TestStore, lease: &Lease, at: Timestamp) -> PublishOutcome {
    let published = test.hot.snapshots().publish_stats(lease, &stats(at), at).await;
    published.expect("Redis responds")
}

async fn find_stats(test: &TestStore) -> Option<Vec<u8>> {
    let state = test.hot.snapshots().find_state(StateFeed::Stats).await.expect("Redis responds");
    state.map(Into::into)
}

#[tokio::test]
async fn newer_statistics_replace_older_ones() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let at = now();
    assert_eq!(find_stats(&test).await, None);
    assert_eq!(publish(&test, &lease, at).await, PublishOutcome::Published);
    let newer = at.plus(Duration::from_millis(1));
    assert_eq!(publish(&test, &lease, newer).await, PublishOutcome::Published);
    for stale in [newer, at] {
        assert_eq!(publish(&test, &lease, stale).await, PublishOutcome::Stale);
    }
    assert_eq!(find_stats(&test).await, Some(stats(newer)));
    let ttl: i64 = test.query(&["PTTL", &test.keys().state(StateFeed::Stats)]).await;
    assert_eq!(ttl, -1, "the statistics do not expire");
}

#[tokio::test]
async fn statistics_from_a_wrong_clock_are_overwritten() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let at = now();
    let future = at.plus(Duration::from_secs(61));
    assert_eq!(publish(&test, &lease, future).await, PublishOutcome::Published);
    assert_eq!(publish(&test, &lease, at).await, PublishOutcome::Published);
    assert_eq!(find_stats(&test).await, Some(stats(at)));
    let near_future = at.plus(Duration::from_secs(59));
    assert_eq!(publish(&test, &lease, near_future).await, PublishOutcome::Published);
    assert_eq!(publish(&test, &lease, at).await, PublishOutcome::Stale);
}

#[tokio::test]
async fn malformed_statistics_are_overwritten() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    for malformed in ["x", "[]", "1", r#"{"generated_at":7}"#] {
        test.query::<()>(&["SET", &test.keys().state(StateFeed::Stats), malformed]).await;
        assert_eq!(publish(&test, &lease, now()).await, PublishOutcome::Published, "{malformed}");
    }
}

#[tokio::test]
async fn former_leader_publishes_neither_statistics_nor_state() {
    let test = TestStore::create().await;
    let former = test.lead().await;
    test.replace_leader().await;
    assert_eq!(publish(&test, &former, now()).await, PublishOutcome::NotLeader);
    let snapshots = test.hot.snapshots();
    let is_leader = snapshots.publish_state(&former, StateFeed::Pulse, b"{}").await;
    assert!(!is_leader.expect("Redis responds"));
    for feed in StateFeed::ALL {
        assert_eq!(snapshots.find_state(feed).await.expect("Redis responds"), None, "{feed:?}");
    }
}

#[tokio::test]
async fn statistics_and_states_are_stored_without_permission_to_publish() {
    let test = TestStore::create().await.restrict(&["resetchannels"]).await;
    let (lease, at) = (test.lead().await, now());
    assert_eq!(publish(&test, &lease, at).await, PublishOutcome::Published);
    assert_eq!(find_stats(&test).await, Some(stats(at)));
    let published = test.hot.snapshots().publish_state(&lease, StateFeed::Pulse, b"{}").await;
    assert!(published.expect("Redis responds"));
    let found = test.hot.snapshots().find_state(StateFeed::Pulse).await.expect("Redis responds");
    assert_eq!(found.as_deref(), Some(&b"{}"[..]));
}

#[tokio::test]
async fn pulse_expires_and_other_states_do_not() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    for feed in StateFeed::ALL {
        let published = test.hot.snapshots().publish_state(&lease, feed, b"{\"n\":1}").await;
        assert!(published.expect("Redis responds"));
        let found = test.hot.snapshots().find_state(feed).await.expect("Redis responds");
        assert_eq!(found.as_deref(), Some(&b"{\"n\":1}"[..]));
    }
    let pulse = test.ttl(&test.keys().state(StateFeed::Pulse)).await;
    assert!(is_fresh(pulse, Duration::from_secs(5)), "{pulse:?}");
    let stats: i64 = test.query(&["PTTL", &test.keys().state(StateFeed::Stats)]).await;
    assert_eq!(stats, -1);
}

#[tokio::test]
async fn state_above_256_kib_is_ignored() {
    let test = TestStore::create().await;
    let key = test.keys().state(StateFeed::Pulse);
    for (bytes, is_found) in [(256 * 1_024, true), (256 * 1_024 + 1, false)] {
        test.query::<()>(&["SET", &key, &"x".repeat(bytes)]).await;
        let found = test.hot.snapshots().find_state(StateFeed::Pulse).await;
        assert_eq!(found.expect("Redis responds").is_some(), is_found, "{bytes}");
    }
}

#[tokio::test]
async fn totals_add_the_items_of_both_queues() {
    let test = TestStore::create().await;
    let empty = test.hot.snapshots().find_totals().await.expect("Redis responds");
    assert_eq!((empty.accepted, empty.waiting, empty.fanouts.len()), (0, 0, 0));
    let (ledger, waiting) = (test.keys().ledger(), test.keys().waiting());
    let fields = ["messages.accepted", "70", "plays.accepted", "7", "plays.waiting", "3"];
    test.query::<()>(&[&["HSET", &ledger], &fields[..]].concat()).await;
    test.query::<()>(&["HSET", &waiting, "a", "1-0", "b", "2-0"]).await;
    let totals = test.hot.snapshots().find_totals().await.expect("Redis responds");
    assert_eq!((totals.accepted, totals.waiting), (77, 5));
}

#[tokio::test]
async fn report_of_a_process_that_exited_is_removed() {
    let test = TestStore::create().await;
    let fanouts = test.hot.fanouts();
    let report = |connections| FanoutReport { connections, delivered: 10 * connections };
    for (name, connections) in [("one", 1), ("two", 2), ("one", 3), ("exits", 4)] {
        fanouts.report(name, report(connections)).await.expect("Redis responds");
    }
    let old = test.now().await.minus(Duration::from_secs(6)).as_millis();
    let key = test.keys().fanouts();
    test.query::<()>(&["HSET", &key, "crashed", &format!("{old} 5 50"), "malformed", "x"]).await;
    fanouts.remove(&["exits"]).await.expect("Redis responds");
    let totals = test.hot.snapshots().find_totals().await.expect("Redis responds");
    let expected = [("one".to_owned(), report(3)), ("two".to_owned(), report(2))];
    assert_eq!(totals.fanouts, expected.into());
    let mut names: Vec<String> = test.query(&["HKEYS", &key]).await;
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn statistics_overwrite_a_key_of_the_wrong_type() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.overwrite(&test.keys().state(StateFeed::Stats)).await;
    let snapshots = test.hot.snapshots();
    assert_eq!(snapshots.find_state(StateFeed::Stats).await.expect("Redis responds"), None);
    let published = snapshots.publish_stats(&lease, b"{}", now()).await.expect("Redis responds");
    assert_eq!(published, PublishOutcome::Published);
    let found = snapshots.find_state(StateFeed::Stats).await.expect("Redis responds");
    assert_eq!(found.as_deref(), Some(&b"{}"[..]));
}

#[tokio::test]
async fn totals_treat_unreadable_keys_as_empty() {
    let test = TestStore::create().await;
    test.accept(&messages_to("kiran", 3)).await;
    let report = FanoutReport { connections: 4, delivered: 5 };
    test.hot.fanouts().report("one", report).await.expect("Redis responds");
    let find = async || test.hot.snapshots().find_totals().await.expect("Redis responds");
    test.query::<()>(&["HSET", &test.keys().ledger(), "plays.waiting", "many"]).await;
    assert_eq!((find().await.accepted, find().await.waiting), (3, 3));
    test.overwrite(&test.keys().waiting()).await;
    assert_eq!((find().await.accepted, find().await.waiting), (3, 0));
    test.overwrite(&test.keys().ledger()).await;
    let totals = find().await;
    assert_eq!((totals.accepted, totals.fanouts["one"]), (0, report));
    test.overwrite(&test.keys().consumption(Stream::Plays)).await;
    let consumption = test.hot.queue().find_consumption(Stream::Plays).await;
    assert_eq!(consumption.expect("Redis responds"), Consumption::default());
}
