//! Reading frames of counts.

use std::time::Duration;

use mayfly_hot::PlayFrameReader;

use super::count;
use crate::TestStore;

async fn next(reader: &mut PlayFrameReader) -> Vec<String> {
    let frames = reader.next(Duration::from_millis(1)).await.expect("Redis responds");
    frames.into_iter().map(|frame| String::from_utf8_lossy(&frame).into_owned()).collect()
}

async fn append(test: &TestStore, entry_id: &str) {
    let key = test.keys().plays_frames();
    test.query::<()>(&["XADD", &key, entry_id, "counts", entry_id]).await;
}

#[tokio::test]
async fn reader_starts_at_the_end_and_reads_each_frame_once() {
    let test = TestStore::create().await;
    append(&test, "1-0").await;
    let mut reader = test.hot.plays().follow_frames();
    assert_eq!(next(&mut reader).await, Vec::<String>::new());
    append(&test, "2-0").await;
    append(&test, "3-0").await;
    assert_eq!(next(&mut reader).await, ["2-0", "3-0"]);
    assert_eq!(next(&mut reader).await, Vec::<String>::new());
}

#[tokio::test]
async fn published_counts_are_read_as_json() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.restore_no_counts().await;
    let mut reader = test.hot.plays().follow_frames();
    next(&mut reader).await;
    test.mirror(&[count("a", 1)]).await;
    test.hot.plays().publish_counts(&lease).await.expect("Redis responds");
    assert_eq!(next(&mut reader).await, [r#"[{"video_id":"a","count":1}]"#]);
}

#[tokio::test]
async fn reader_continues_after_redis_lost_its_frames() {
    let test = TestStore::create().await;
    append(&test, "5-0").await;
    let mut reader = test.hot.plays().follow_frames();
    assert_eq!(next(&mut reader).await, Vec::<String>::new());
    test.query::<()>(&["DEL", &test.keys().plays_frames()]).await;
    assert_eq!(next(&mut reader).await, Vec::<String>::new());
    append(&test, "2-0").await;
    assert_eq!(next(&mut reader).await, ["2-0"]);
}

#[tokio::test]
async fn reader_continues_after_an_error() {
    let test = TestStore::create().await;
    append(&test, "1-0").await;
    let mut reader = test.hot.plays().follow_frames();
    assert_eq!(next(&mut reader).await, Vec::<String>::new());
    let (frames, moved) = (test.keys().plays_frames(), format!("{}:m", test.keys().plays_frames()));
    append(&test, "2-0").await;
    test.query::<()>(&["RENAME", &frames, &moved]).await;
    test.query::<()>(&["SET", &frames, "x"]).await;
    reader.next(Duration::from_millis(1)).await.expect_err("the stream is a string");
    test.query::<()>(&["RENAME", &moved, &frames]).await;
    assert_eq!(next(&mut reader).await, ["2-0"]);
}
