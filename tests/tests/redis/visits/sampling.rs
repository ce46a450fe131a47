//! Sampling the visitors of a host with more than `visits.exact_max` visits.

use mayfly_core::{ShortHash, Visit};
use mayfly_hot::HotError;

use super::{HOST, crowd, visit};
use crate::{TestStore, host};

const EXACT_MAX: u32 = 200;

async fn create() -> TestStore {
    TestStore::create_with(&[("MAYFLY_VISITS__EXACT_MAX", &EXACT_MAX.to_string())]).await
}

/// Returns one visit by each of `visitors` visitors, who are numbered from `from`, on 20 pages.
fn spread(from: u32, visitors: u32) -> Vec<Visit> {
    (from..from + visitors)
        .map(|number| visit(&format!("/{}", number % 20), &number.to_string()))
        .collect()
}

/// Returns the level of a host: the lowest class of visitors that is stored.
async fn level(test: &TestStore) -> u32 {
    let level: Option<u32> =
        test.query(&["HGET", &test.keys().visits(&host(HOST)).state(), "level"]).await;
    level.unwrap_or(0)
}

/// Returns the number of stored visits.
async fn stored(test: &TestStore) -> u32 {
    let mut stored = 0;
    for class in 0..13 {
        let key = test.keys().visits(&host(HOST)).visits(class);
        stored += test.query::<u32>(&["ZCARD", &key]).await;
    }
    stored
}

fn assert_near(estimate: u64, exact: u64) {
    // Three standard errors if at least a quarter of the maximum is counted.
    assert!(estimate.abs_diff(exact) < exact * 3 / 7, "{estimate} instead of {exact}");
}

#[tokio::test]
async fn visitors_up_to_the_maximum_are_counted_exactly() {
    let test = create().await;
    test.visit(crowd("/", 0, 1)).await;
    assert_eq!((test.count_visitors().await.visitors, level(&test).await), (1, 0));
    test.visit(crowd("/", 0, EXACT_MAX)).await;
    let sample = test.count_visitors().await;
    assert_eq!((sample.visitors, sample.exact), (u64::from(EXACT_MAX), true));
    test.visit(crowd("/", EXACT_MAX, 1)).await;
    assert!(!test.count_visitors().await.exact);
}

#[tokio::test]
async fn more_visitors_are_estimated_from_a_bounded_sample() {
    let test = create().await;
    for (page, visitors) in [(0, 900), (1, 600), (2, 500)] {
        test.visit(crowd(&format!("/{page}"), page * 1_000, visitors)).await;
        assert!(stored(&test).await <= EXACT_MAX);
    }
    let sample = test.count_visitors().await;
    assert!(!sample.exact && level(&test).await >= 3);
    assert_near(sample.visitors, 2_000);
    let sum: u64 = sample.pages.iter().map(|page| page.visitors).sum();
    assert_eq!(sum, sample.visitors, "each visitor is on one page");
}

#[tokio::test]
async fn estimate_of_ten_times_the_maximum_is_within_five_percent() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__EXACT_MAX", "2000")]).await;
    for from in (0..20_000).step_by(1_000) {
        test.visit(spread(from, 1_000)).await;
    }
    let sample = test.count_visitors().await;
    assert!(!sample.exact && (1_000..=2_000).contains(&stored(&test).await));
    assert!(sample.visitors.abs_diff(20_000) < 1_000, "{}", sample.visitors);
    assert_eq!(sample.pages.len(), 20);
    // Each page has 50 to 100 counted visitors, so the standard error is about 10%.
    for page in sample.pages {
        assert!((600..=1_400).contains(&page.visitors), "{page:?}");
    }
}

#[tokio::test]
async fn each_class_counts_its_visits_by_page_and_by_visitor() {
    let test = create().await;
    test.visit(spread(0, 1_000)).await;
    let mut all = 0;
    for class in 0..13 {
        let keys = test.keys().visits(&host(HOST));
        let visits: u64 = test.query(&["ZCARD", &keys.visits(class)]).await;
        let visitors: u64 = test.query(&["ZCARD", &keys.visitors(class)]).await;
        let counts: Vec<u64> = test.query(&["HVALS", &keys.page_counts(class)]).await;
        assert_eq!((visitors, counts.iter().sum()), (visits, visits), "{class}");
        assert!(class >= level(&test).await || visits == 0, "{class}");
        all += visits;
    }
    assert!(all > u64::from(EXACT_MAX / 4), "{all}");
}

#[tokio::test]
async fn repeated_heartbeats_do_not_change_the_estimate() {
    let test = create().await;
    test.visit(crowd("/", 0, 1_000)).await;
    let sample = test.count_visitors().await;
    test.visit(crowd("/", 0, 1_000)).await;
    assert_eq!(test.count_visitors().await.visitors, sample.visitors);
}

#[tokio::test]
async fn full_last_class_counts_no_new_visitors() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__EXACT_MAX", "2")]).await;
    let last = 12;
    let key = test.keys().visits(&host(HOST)).state();
    let level = last.to_string();
    test.query::<()>(&["HSET", &key, "level", &level, "counted", &level]).await;
    let of_last_class = |number: &u32| ShortHash::new(&number.to_string()).class() == last;
    let visits: Vec<_> = (0..)
        .filter(of_last_class)
        .map(|number: u32| visit("/", &number.to_string()))
        .take(3)
        .collect();
    test.visit(visits[..2].to_vec()).await;
    test.let_visits_expire(&visits[..1]).await;
    // A heartbeat of a known visitor counts, even if it is late.
    test.visit(vec![visits[0].clone(), visits[2].clone()]).await;
    assert_eq!(test.count_visitors().await.visitors, 2 << last);
    assert_eq!(stored(&test).await, 2);
}

#[tokio::test]
async fn pages_of_visitors_outside_the_sample_are_removed() {
    let test = create().await;
    let visits = (0..1_000).map(|number| visit(&format!("/{number}"), &number.to_string()));
    test.visit(visits.collect()).await;
    let sample = test.count_visitors().await;
    assert_eq!(test.stored_names().await, u64::from(stored(&test).await));
    assert!(sample.pages.len() <= 100 && test.stored_names().await <= u64::from(EXACT_MAX));
}

#[tokio::test]
async fn counts_become_exact_again_one_class_at_a_time() {
    let test = create().await;
    let crowd = spread(0, 700);
    test.visit(crowd.clone()).await;
    let full = level(&test).await;
    assert!(full >= 2);
    test.let_visits_expire(&crowd).await;
    let few = spread(0, 12);
    let key = test.keys().visits(&host(HOST)).state();
    for stored_from in (0..full).rev() {
        test.visit(few.clone()).await;
        // Few visitors are left, so one more class is stored, but not counted yet.
        assert!(!test.count_visitors().await.exact);
        assert_eq!(level(&test).await, stored_from);
        test.visit(few.clone()).await;
        assert!(!test.count_visitors().await.exact, "visitors may not have sent a heartbeat");
        // As if all visitors had had enough time.
        test.query::<()>(&["HSET", &key, "since", "1"]).await;
        assert_eq!(test.count_visitors().await.exact, stored_from == 0);
    }
    let sample = test.count_visitors().await;
    assert_eq!((sample.visitors, sample.pages.len()), (12, 12));
    assert_eq!(test.stored_names().await, 12);
}

#[tokio::test]
async fn key_of_the_wrong_type_rejects_the_count() {
    let test = create().await;
    test.query::<()>(&["SET", &test.keys().visits(&host(HOST)).state(), "x"]).await;
    let sample = test.hot.visits().count_visitors(&host(HOST), &test.settings.visits).await;
    let error = sample.expect_err("the hash is a string");
    assert!(matches!(&error, HotError::Rejected(cause) if cause.code() == Some("WRONGTYPE")));
}
