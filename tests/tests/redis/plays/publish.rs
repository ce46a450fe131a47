//! Publishing counts.

use std::time::Duration;

use mayfly_core::VideoCount;
use mayfly_hot::{CountsPublishOutcome, Lease, TickOutcome};

use super::{EPOCH, count};
use crate::TestStore;

async fn publish(test: &TestStore, lease: &Lease) -> CountsPublishOutcome {
    test.hot.plays().publish_counts(lease).await.expect("Redis responds")
}

fn published(frames: usize) -> CountsPublishOutcome {
    CountsPublishOutcome::Published { frames, is_full: false }
}

fn published_full(frames: usize) -> CountsPublishOutcome {
    CountsPublishOutcome::Published { frames, is_full: true }
}

/// The interval between ticks. It outlasts every test, so tests delete the last tick to begin
/// another.
const INTERVAL: Duration = Duration::from_secs(50 * 365 * 24 * 3_600);

async fn begin_tick(test: &TestStore, lease: &Lease) -> TickOutcome {
    test.hot.plays().begin_tick(lease, INTERVAL).await.expect("Redis responds")
}

/// Begins a tick as if the interval since the last tick had passed.
pub(super) async fn begin_next_tick(test: &TestStore, lease: &Lease) -> TickOutcome {
    test.query::<()>(&["DEL", &test.keys().plays_tick()]).await;
    begin_tick(test, lease).await
}

/// Returns the counts of all frames, in order.
async fn frames(test: &TestStore) -> Vec<Vec<(String, u64)>> {
    let entries = test.entries(&test.keys().plays_frames()).await;
    let frames = entries.iter().map(|(_, fields)| {
        let [(name, json)] = &fields[..] else { panic!("{fields:?}") };
        assert_eq!(name, "counts");
        let counts: Vec<VideoCount> = serde_json::from_str(json).expect("valid JSON");
        let mut counts: Vec<_> = counts.into_iter().map(|one| (one.video_id, one.count)).collect();
        counts.sort();
        counts
    });
    frames.collect()
}

fn frame(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(video, count)| ((*video).to_owned(), *count)).collect()
}

async fn find_unsaved(test: &TestStore) -> Vec<(String, u64)> {
    let mut unsaved = test.hot.plays().find_unsaved_counts(100).await.expect("Redis responds");
    unsaved.sort();
    unsaved
}

#[tokio::test]
async fn small_counts_are_published_immediately_and_large_ones_with_the_tick() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&[count("small", 99), count("large", 100)]).await;
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(frames(&test).await, [frame(&[("small", 99)])]);
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(frames(&test).await[1..], [frame(&[("large", 100)])]);
}

#[tokio::test]
async fn count_that_becomes_large_waits_for_the_tick() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&[count("video", 99)]).await;
    test.mirror(&[count("video", 100)]).await;
    assert_eq!(publish(&test, &lease).await, published(0));
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    assert_eq!(publish(&test, &lease).await, published(1));
}

#[tokio::test]
async fn only_changed_counts_are_published() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&[count("a", 1), count("b", 1)]).await;
    assert_eq!(publish(&test, &lease).await, published(1));
    test.mirror(&[count("a", 1), count("b", 2)]).await;
    // Videos that were published or deleted after they were marked.
    test.query::<()>(&["SADD", &test.keys().plays_changed_small(), "a", "deleted"]).await;
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(publish(&test, &lease).await, published(0));
    assert_eq!(frames(&test).await, [frame(&[("a", 1), ("b", 1)]), frame(&[("b", 2)])]);
}

#[tokio::test]
async fn restored_counts_are_published_unless_already_published() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.query::<()>(&["SET", &test.keys().epoch(), EPOCH]).await;
    let counts = [(count("changed", 3), 2), (count("same", 4), 4), (count("large", 200), 1)];
    assert!(test.restore(&counts, true).await);
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(frames(&test).await, [frame(&[("changed", 3)])]);
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(frames(&test).await[1..], [frame(&[("large", 200)])]);
    // An older copy of Postgres neither decreases nor repeats a published count.
    assert!(test.restore(&[(count("changed", 3), 0)], true).await);
    assert_eq!(publish(&test, &lease).await, published(0));
}

#[tokio::test]
async fn frames_have_at_most_20_videos_and_a_step_50_frames() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    let counts: Vec<_> = (0..1_015).map(|n| count(&format!("{n:04}"), 1)).collect();
    test.mirror(&counts).await;
    // A step skips the unknown videos, so it does not end exactly between two reads of the set.
    let changed = test.keys().plays_changed_small();
    test.query::<()>(&["SADD", &changed, "x1", "x2", "x3", "x4", "x5", "x6", "x7"]).await;
    assert_eq!(publish(&test, &lease).await, published_full(50));
    assert_eq!(publish(&test, &lease).await, published(1));
    let frames = frames(&test).await;
    let sizes: Vec<_> = frames.iter().map(Vec::len).collect();
    assert_eq!(sizes, [vec![20; 50], vec![15]].concat());
    let mut all = frames.concat();
    all.sort();
    let expected: Vec<_> = counts.into_iter().map(|one| (one.video_id, 1)).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn video_ids_are_escaped_in_frames() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    for name in ["a/b", "\"\\", "ü🦋", "a\tb", "\u{1}"] {
        test.mirror(&[count(name, 1)]).await;
        assert_eq!(publish(&test, &lease).await, published(1));
        assert_eq!(frames(&test).await.last(), Some(&frame(&[(name, 1)])));
    }
    let first = &test.entries(&test.keys().plays_frames()).await[0].1[0].1;
    assert_eq!(first, r#"[{"video_id":"a/b","count":1}]"#);
}

#[tokio::test]
async fn nothing_is_published_before_the_counts_are_restored() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.mirror(&[count("a", 1)]).await;
    assert_eq!(publish(&test, &lease).await, CountsPublishOutcome::Restoring);
    // Restored in an earlier run of Redis.
    test.query::<()>(&["HSET", &test.keys().ledger(), "plays.restored", "earlier"]).await;
    assert_eq!(publish(&test, &lease).await, CountsPublishOutcome::Restoring);
    test.restore_no_counts().await;
    assert_eq!(publish(&test, &lease).await, published(1));
}

#[tokio::test]
async fn former_leader_publishes_no_counts_and_begins_no_tick() {
    let test = TestStore::create().await;
    let former = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&[count("a", 1)]).await;
    test.replace_leader().await;
    assert_eq!(publish(&test, &former).await, CountsPublishOutcome::NotLeader);
    assert_eq!(begin_tick(&test, &former).await, TickOutcome::Unchanged);
    assert!(!test.has_key(&test.keys().plays_tick()).await);
    assert!(!test.has_key(&test.keys().plays_frames()).await);
}

#[tokio::test]
async fn tick_begins_once_for_all_leaders() {
    let test = TestStore::create().await;
    let mut first = test.lead().await;
    assert_eq!(begin_tick(&test, &first).await, TickOutcome::Begun);
    assert_eq!(begin_tick(&test, &first).await, TickOutcome::Unchanged);
    first.release().await.expect("Redis responds");
    let second = test.lead().await;
    assert_eq!(begin_tick(&test, &second).await, TickOutcome::Unchanged);
    assert_eq!(begin_next_tick(&test, &second).await, TickOutcome::Begun);
}

#[tokio::test]
async fn ticks_begin_with_the_intervals_of_the_clock_of_redis() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let interval = Duration::from_secs(100);
    let before = test.now().await.as_millis();
    test.hot.plays().begin_tick(&lease, interval).await.expect("Redis responds");
    let after = test.now().await.as_millis();
    let tick: i64 = test.query(&["GET", &test.keys().plays_tick()]).await;
    assert!(tick % 100_000 == 0 && tick > before - 100_000 && tick <= after, "{tick} {after}");
}

#[tokio::test]
async fn tick_from_a_wrong_clock_is_ignored() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.query::<()>(&["SET", &test.keys().plays_tick(), "9999999999999"]).await;
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Unchanged);
}

#[tokio::test]
async fn tick_begins_after_the_counts_that_a_former_leader_did_not_publish() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&[count("due", 100)]).await;
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    test.mirror(&[count("later", 100)]).await;
    assert_eq!(begin_next_tick(&test, &lease).await, TickOutcome::Waiting);
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(begin_tick(&test, &lease).await, TickOutcome::Begun);
    assert!(!test.has_key(&test.keys().plays_changed_large()).await);
    assert_eq!(publish(&test, &lease).await, published(1));
    assert_eq!(frames(&test).await, [frame(&[("due", 100)]), frame(&[("later", 100)])]);
}

#[tokio::test]
async fn step_compares_a_limited_number_of_videos() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    let changed = test.keys().plays_changed_small();
    let videos: Vec<_> = (0..4_500).map(|number| format!("unknown {number}")).collect();
    for videos in videos.chunks(1_500) {
        let add = ["SADD", &changed].into_iter().chain(videos.iter().map(String::as_str));
        test.query::<()>(&add.collect::<Vec<_>>()).await;
    }
    let left = async || test.query::<u64>(&["SCARD", &changed]).await;
    for expected in [2_500, 500, 0] {
        assert_eq!(publish(&test, &lease).await, published(0));
        assert_eq!(left().await, expected);
    }
}

#[tokio::test]
async fn published_counts_are_unsaved_until_the_same_count_is_saved() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    assert_eq!(find_unsaved(&test).await, []);
    test.mirror(&[count("a", 1), count("b", 1)]).await;
    publish(&test, &lease).await;
    let unsaved = find_unsaved(&test).await;
    assert_eq!(unsaved, frame(&[("a", 1), ("b", 1)]));
    test.mirror(&[count("b", 2)]).await;
    publish(&test, &lease).await;
    test.hot.plays().mark_counts_saved(&unsaved).await.expect("Redis responds");
    assert_eq!(find_unsaved(&test).await, frame(&[("b", 2)]));
    test.hot.plays().mark_counts_saved(&frame(&[("b", 2)])).await.expect("Redis responds");
    assert_eq!(find_unsaved(&test).await, []);
}

#[tokio::test]
async fn some_of_many_unsaved_counts_are_returned() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.mirror(&["a", "b", "c"].map(|video| count(video, 1))).await;
    publish(&test, &lease).await;
    let some = test.hot.plays().find_unsaved_counts(2).await.expect("Redis responds");
    assert_eq!(some.len(), 2);
}
