//! Keys that another program overwrote with a wrong type or value. An unreadable key affects only
//! its own videos.

use mayfly_core::VideoCount;
use mayfly_hot::{CountsPublishOutcome, TickOutcome};

use super::{count, publish::begin_next_tick};
use crate::TestStore;

const ONE_FRAME: CountsPublishOutcome =
    CountsPublishOutcome::Published { frames: 1, is_full: false };

/// Publishes the changed counts in one frame and returns the videos in the frame.
async fn publish(test: &TestStore) -> Vec<String> {
    let lease = test.lead().await;
    let published = test.hot.plays().publish_counts(&lease).await.expect("Redis responds");
    assert_eq!(published, ONE_FRAME);
    let frames = test.entries(&test.keys().plays_frames()).await;
    let (_, fields) = frames.last().expect("a frame");
    let counts: Vec<VideoCount> = serde_json::from_str(&fields[0].1).expect("valid JSON");
    let mut videos: Vec<_> = counts.into_iter().map(|count| count.video_id).collect();
    videos.sort();
    videos
}

#[tokio::test]
async fn large_counts_are_published_without_the_set_of_small_ones() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    test.overwrite(&test.keys().plays_changed_small()).await;
    test.mirror(&[count("small", 1), count("large", 200)]).await;
    let keys = test.keys();
    test.query::<()>(&["RENAME", &keys.plays_changed_large(), &keys.plays_publishing()]).await;
    assert_eq!(publish(&test).await, ["large"]);
}

#[tokio::test]
async fn large_counts_of_the_next_tick_are_published_after_their_set_had_the_wrong_type() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    test.overwrite(&test.keys().plays_changed_large()).await;
    assert_eq!(begin_next_tick(&test, &lease).await, TickOutcome::Begun);
    test.mirror(&[count("large", 200)]).await;
    assert_eq!(begin_next_tick(&test, &lease).await, TickOutcome::Begun);
    let published = test.hot.plays().publish_counts(&lease).await.expect("Redis responds");
    assert_eq!(published, ONE_FRAME);
}

#[tokio::test]
async fn video_with_a_malformed_published_count_does_not_stop_others() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    let overwrite = async || {
        let published = test.keys().plays_published();
        test.query::<()>(&["HSET", &published, "overwritten", "x"]).await;
    };
    overwrite().await;
    assert!(test.restore(&[(count("overwritten", 3), 0), (count("valid", 4), 0)], true).await);
    assert_eq!(publish(&test).await, ["overwritten", "valid"]);
    overwrite().await;
    let unsaved = test.hot.plays().find_unsaved_counts(10).await.expect("Redis responds");
    assert_eq!(unsaved, [("valid".to_owned(), 4)]);
}

#[tokio::test]
async fn no_count_is_lost_while_the_published_counts_are_unreadable() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    test.mirror(&[count("video", 3)]).await;
    test.overwrite(&test.keys().plays_published()).await;
    let lease = test.lead().await;
    assert!(test.hot.plays().publish_counts(&lease).await.is_err());
    test.query::<()>(&["DEL", &test.keys().plays_published()]).await;
    let published = test.hot.plays().publish_counts(&lease).await.expect("Redis responds");
    assert_eq!(published, ONE_FRAME);
}
