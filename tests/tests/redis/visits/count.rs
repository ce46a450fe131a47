//! Counting all visitors of a host.

use std::time::Duration;

use super::{HOST, crowd, on_host, titled, visit};
use crate::{LONG, TestStore, host};

#[tokio::test]
async fn visitor_counts_once_per_page_and_once_per_host() {
    let test = TestStore::create().await;
    let visits = [visit("/1", "v"), visit("/2", "v"), visit("/1", "v"), visit("/1", "w")];
    test.visit(visits.to_vec()).await;
    test.visit(visits.to_vec()).await;
    test.visit(vec![on_host("b.org", visit("/1", "x"))]).await;
    let before = test.now().await;
    let sample = test.count_visitors().await;
    assert_eq!((sample.host.as_str(), sample.visitors, sample.exact), (HOST, 2, true));
    assert!(sample.sampled_at >= before);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 2), ("/2".to_owned(), 1)]);
}

#[tokio::test]
async fn host_without_visitors_has_none() {
    let test = TestStore::create().await;
    let sample = test.count_visitors().await;
    assert_eq!((sample.visitors, sample.exact, sample.pages), (0, true, vec![]));
}

#[tokio::test]
async fn visitor_counts_until_its_last_heartbeat_expires() {
    let test = TestStore::create().await;
    let visits = [visit("/1", "v"), visit("/1", "w"), visit("/2", "w")];
    test.visit(visits.to_vec()).await;
    test.let_age(&visits, Duration::from_secs(20)).await;
    assert_eq!(test.count_visitors().await.visitors, 2);
    // The visit of visitor `w` to the other page does not expire.
    test.let_visits_expire(&visits[..2]).await;
    test.visit(visits[2..].to_vec()).await;
    let sample = test.count_visitors().await;
    assert_eq!(sample.visitors, 1);
    assert_eq!(test.count_pages().await, [("/2".to_owned(), 1)]);
    assert_eq!(test.stored_names().await, 1);
    test.let_visits_expire(&visits[2..]).await;
    assert_eq!(test.count_visitors().await.visitors, 0);
    assert_eq!(test.stored_names().await, 0);
}

#[tokio::test]
async fn visitors_recorded_before_the_clock_was_set_back_are_not_counted() {
    let test = TestStore::create().await;
    let visits = [visit("/1", "v"), visit("/2", "v"), visit("/1", "w")];
    test.visit(visits.to_vec()).await;
    test.set_heartbeats(&visits[..2], test.now().await.plus(LONG)).await;
    let sample = test.count_visitors().await;
    assert_eq!(sample.visitors, 1);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 1)]);
    assert_eq!(test.stored_names().await, 1);
    // Visitors that are still present are counted again from their next heartbeat on.
    test.visit(visits.to_vec()).await;
    assert_eq!(test.count_visitors().await.visitors, 2);
}

/// The clock of a replica may be slightly behind when it becomes the primary.
#[tokio::test]
async fn visitors_are_counted_after_a_small_correction_of_the_clock() {
    let test = TestStore::create().await;
    let visits = [visit("/1", "v")];
    test.visit(visits.to_vec()).await;
    test.set_heartbeats(&visits, test.now().await.plus(Duration::from_secs(1))).await;
    assert_eq!(test.count_visitors().await.visitors, 1);
}

#[tokio::test]
async fn heartbeat_renews_a_visit() {
    let test = TestStore::create().await;
    let visits = [visit("/1", "v")];
    test.visit(visits.to_vec()).await;
    test.let_visits_expire(&visits).await;
    test.visit(visits.to_vec()).await;
    assert_eq!(test.count_visitors().await.visitors, 1);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 1)]);
}

#[tokio::test]
async fn more_expired_visits_than_one_step_removes_are_removed() {
    let test = TestStore::create().await;
    let visits = crowd("/1", 0, 6_000);
    test.visit(visits).await;
    for class in 0..13 {
        let keys = test.keys().visits(&host(HOST));
        for key in [keys.visits(class), keys.visitors(class)] {
            let members: Vec<String> = test.query(&["ZRANGE", &key, "0", "-1"]).await;
            let scores: Vec<&str> = members.iter().flat_map(|one| ["1", one.as_str()]).collect();
            if !scores.is_empty() {
                test.query::<()>(&[&["ZADD", &key], &scores[..]].concat()).await;
            }
        }
    }
    test.visit(crowd("/2", 0, 1)).await;
    let sample = test.count_visitors().await;
    assert_eq!((sample.visitors, sample.exact), (1, true));
    assert_eq!(test.stored_names().await, 1);
}

#[tokio::test]
async fn latest_title_of_a_page_is_kept() {
    let test = TestStore::create().await;
    let title = async || test.count_visitors().await.pages[0].title.clone();
    test.visit(vec![visit("/1", "v")]).await;
    assert_eq!(title().await, None);
    test.visit(vec![titled(visit("/1", "v"), "One")]).await;
    test.visit(vec![titled(visit("/1", "w"), "Two")]).await;
    test.visit(vec![visit("/1", "x")]).await;
    assert_eq!(title().await.as_deref(), Some("Two"));
}

#[tokio::test]
async fn one_hundred_pages_are_listed_by_visitors_then_path() {
    let test = TestStore::create().await;
    let on = |page: u32, number: u32| visit(&format!("/{page:03}"), &format!("{page}-{number}"));
    test.visit((0..150).map(|page| on(page, 0)).collect()).await;
    test.visit((140..150).flat_map(|page| [on(page, 1), on(page, 2)]).collect()).await;
    assert_eq!(test.count_visitors().await.visitors, 170);
    let three = (140..150).map(|page| (format!("/{page:03}"), 3));
    let one = (0..90).map(|page| (format!("/{page:03}"), 1));
    assert_eq!(test.count_pages().await, three.chain(one).collect::<Vec<_>>());
}
