//! Mirroring, restoring, reading and deleting counts.

use mayfly_core::{PlayCount, PlayCursor};
use mayfly_hot::{CountsPage, CountsRead};

use super::{EPOCH, count, count_at};
use crate::TestStore;

async fn list(test: &TestStore, limit: u32, after: Option<&PlayCursor>) -> CountsPage {
    match test.hot.plays().list_counts(limit, after).await.expect("Redis responds") {
        CountsRead::Complete(page) => page,
        CountsRead::Incomplete => panic!("the counts are not restored"),
    }
}

/// Reads all pages of a listing.
async fn list_all(test: &TestStore, limit: u32) -> Vec<PlayCount> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = list(test, limit, cursor.as_ref()).await;
        assert!(page.items.len() <= limit as usize);
        cursor = PlayCursor::after(&page.items, cursor.as_ref());
        all.extend(page.items);
        if !page.has_more {
            return all;
        }
    }
}

/// Returns counts with ties, unique counts, and long names with a common prefix.
fn mixed() -> Vec<PlayCount> {
    let long = "🦋".repeat(100);
    let ties = (0..30).map(|n| count(&format!("tie-{n:02}"), 3));
    let unique = (1..10).map(|n| count(&format!("unique-{n}"), n));
    let long_names = (0..12).map(|n| count(&format!("{long}{n:02}"), 3));
    let longer = (0..5).map(|n| count(&format!("{long}{n:02}x"), 2));
    ties.chain(unique).chain(long_names).chain(longer).collect()
}

#[tokio::test]
async fn counts_are_incomplete_until_the_last_page_is_restored() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().epoch(), EPOCH]).await;
    let run_id = test.hot.plays().find_run_id().await.expect("Redis responds");
    assert!(test.restore(&[(count("a", 1), 1)], false).await);
    let plays = test.hot.plays();
    assert!(!plays.has_all_counts(&run_id).await.expect("Redis responds"));
    let found = plays.find_count("a").await.expect("Redis responds");
    assert!(matches!(found, CountsRead::Incomplete), "{found:?}");
    let page = plays.list_counts(10, None).await.expect("Redis responds");
    assert!(matches!(page, CountsRead::Incomplete), "{page:?}");
    assert!(test.restore(&[(count_at("b", 2, 77), 0)], true).await);
    assert!(plays.has_all_counts(&run_id).await.expect("Redis responds"));
    assert!(!plays.has_all_counts("other").await.expect("Redis responds"));
    assert_eq!(test.find_count("b").await, Some(count_at("b", 2, 77)));
    assert_eq!(list(&test, 10, None).await.items, [count_at("b", 2, 77), count("a", 1)]);
}

#[tokio::test]
async fn counts_that_were_restored_in_an_earlier_run_are_incomplete() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    test.mirror(&[count("a", 1)]).await;
    test.query::<()>(&["HSET", &test.keys().ledger(), "plays.restored", "earlier"]).await;
    let found = test.hot.plays().find_count("a").await.expect("Redis responds");
    assert!(matches!(found, CountsRead::Incomplete), "{found:?}");
    let page = test.hot.plays().list_counts(10, None).await.expect("Redis responds");
    assert!(matches!(page, CountsRead::Incomplete), "{page:?}");
}

#[tokio::test]
async fn counts_of_another_epoch_or_run_are_not_restored() {
    let test = TestStore::create().await;
    test.query::<()>(&["SET", &test.keys().epoch(), EPOCH]).await;
    let run_id = test.hot.plays().find_run_id().await.expect("Redis responds");
    for (epoch, run_id) in [("earlier", run_id.as_str()), (EPOCH, "earlier")] {
        assert!(!test.restore_for(epoch, run_id, &[(count("a", 1), 0)], true).await);
    }
    assert!(test.restore(&[], true).await);
    assert_eq!(test.find_count("a").await, None);
}

#[tokio::test]
async fn counts_never_decrease() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    test.mirror(&[count_at("a", 5, 50)]).await;
    test.mirror(&[count_at("a", 4, 60), count_at("b", 1, 60)]).await;
    assert_eq!(test.find_count("a").await, Some(count_at("a", 5, 50)));
    assert!(test.restore(&[(count_at("a", 3, 70), 0), (count_at("b", 2, 70), 0)], true).await);
    assert_eq!(test.find_count("a").await, Some(count_at("a", 5, 50)));
    assert_eq!(test.find_count("b").await, Some(count_at("b", 2, 70)));
}

#[tokio::test]
async fn pages_contain_each_video_once_and_in_order() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    assert_eq!(list_all(&test, 10).await, []);
    let mut counts = mixed();
    test.mirror(&counts).await;
    counts.sort_by(|a, b| b.count.cmp(&a.count).then(b.video_id.cmp(&a.video_id)));
    for limit in [1, 2, 3, 7, 50, 1_000] {
        assert_eq!(list_all(&test, limit).await, counts, "{limit}");
    }
}

#[tokio::test]
async fn listing_continues_after_a_video_that_was_counted_since() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    test.mirror(&["a", "b", "c", "d"].map(|video| count(video, 7))).await;
    let first = list(&test, 2, None).await;
    let cursor = PlayCursor::after(&first.items, None);
    assert_eq!(first.items, [count("d", 7), count("c", 7)]);
    test.mirror(&[count("c", 8)]).await;
    let second = list(&test, 2, cursor.as_ref()).await;
    assert_eq!((second.items, second.has_more), (vec![count("b", 7), count("a", 7)], false));
}

#[tokio::test]
async fn counts_beyond_the_limit_of_one_call_are_mirrored() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    let counts: Vec<_> = (0..2_500).map(|n| count(&format!("{n:04}"), 1)).collect();
    test.mirror(&counts).await;
    let size: u64 = test.query(&["ZCARD", &test.keys().play_counts()]).await;
    assert_eq!(size, 2_500);
}

#[tokio::test]
async fn counts_are_deleted_by_prefix() {
    let test = TestStore::create().await;
    test.restore_no_counts().await;
    let deleted = ["[x]*?-1", "[x]*?-2", r"[x]*?\"];
    let kept = ["x*?-1", "[x]zz-1", "[x]"];
    for video in deleted.iter().chain(&kept) {
        test.mirror(&[count(video, 1), count(video, 150)]).await;
        let published = (count(video, 1), 1);
        assert!(test.restore(&[published], true).await);
    }
    assert_eq!(test.hot.plays().delete_counts("[x]*?").await.expect("Redis responds"), 3);
    let videos: Vec<_> = list_all(&test, 10).await.into_iter().map(|one| one.video_id).collect();
    assert_eq!(videos, ["x*?-1", "[x]zz-1", "[x]"]);
    let keys = test.keys();
    for hash in [keys.play_updates(), keys.plays_published()] {
        assert_eq!(test.query::<u64>(&["HLEN", &hash]).await, 3, "{hash}");
    }
    let changed: u64 = test.query(&["SCARD", &keys.plays_changed_large()]).await;
    assert_eq!(changed, 3);
}
