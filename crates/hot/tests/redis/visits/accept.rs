//! Acceptance of visits, and the hosts with visitors.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_hot::{Capacity, WriteOutcome};

use super::{HOST, crowd, on_host, visit, write_request};
use crate::{TestStore, host, is_fresh};

const TTL: Duration = Duration::from_secs(30);
const TOO_MANY_PAGES: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::PagesPerHost);
const TOO_MANY_HOSTS: WriteOutcome = WriteOutcome::CapacityExceeded(Capacity::Hosts);

async fn list_hosts(test: &TestStore) -> Vec<String> {
    let hosts = test.hot.visits().list_hosts(TTL).await.expect("Redis responds");
    let mut hosts: Vec<_> = hosts.iter().map(|host| host.as_str().to_owned()).collect();
    hosts.sort();
    hosts
}

/// Changes the time of the last heartbeat of a host.
async fn let_host_age(test: &TestStore, name: &str, age: Duration) {
    let at = test.now().await.minus(age).as_millis().to_string();
    test.query::<()>(&["ZADD", &test.keys().visited_hosts(), "XX", &at, name]).await;
}

#[tokio::test]
async fn request_above_the_page_limit_is_rejected_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__PAGES_MAX", "2")]).await;
    test.visit(vec![visit("/1", "v")]).await;
    let visits = vec![visit("/1", "w"), visit("/2", "w"), visit("/3", "w")];
    assert_eq!(test.write_visits(visits).await, TOO_MANY_PAGES);
    assert_eq!(test.count_pages().await, [("/1".to_owned(), 1)]);
    // A page counts once per request, and other hosts are not affected.
    test.visit(vec![visit("/2", "w"), visit("/2", "x"), on_host("b.org", visit("/3", "w"))]).await;
    test.visit(vec![visit("/1", "y"), visit("/2", "y")]).await;
    assert_eq!(test.write_visits(vec![visit("/3", "v")]).await, TOO_MANY_PAGES);
}

#[tokio::test]
async fn capacities_hold_within_a_batch() {
    let env = [("MAYFLY_VISITS__PAGES_MAX", "1"), ("MAYFLY_VISITS__HOSTS_MAX", "2")];
    let test = TestStore::create_with(&env).await;
    let writer = test.visit_writer();
    let visits = [
        visit("/1", "v"),
        visit("/2", "v"),
        on_host("b.org", visit("/1", "v")),
        on_host("c.org", visit("/1", "v")),
    ];
    let outcomes = join_all(visits.map(|one| writer.write(write_request(vec![one])))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|one| one.expect("Redis responds")).collect();
    let accepted = WriteOutcome::Accepted(None);
    assert_eq!(outcomes, [accepted.clone(), TOO_MANY_PAGES, accepted, TOO_MANY_HOSTS]);
}

#[tokio::test]
async fn pages_without_current_visitors_make_space() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__PAGES_MAX", "2")]).await;
    let visits = [visit("/1", "v"), visit("/2", "w")];
    test.visit(visits.to_vec()).await;
    test.let_visits_expire(&visits[..1]).await;
    test.visit(vec![visit("/3", "x")]).await;
    assert_eq!(test.count_pages().await, [("/2".to_owned(), 1), ("/3".to_owned(), 1)]);
    assert_eq!(test.write_visits(vec![visit("/4", "v")]).await, TOO_MANY_PAGES);
}

#[tokio::test]
async fn request_above_the_host_limit_is_rejected_as_a_whole() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_MAX", "2")]).await;
    test.visit(vec![visit("/", "v")]).await;
    let on = |name| on_host(name, visit("/", "v"));
    assert_eq!(test.write_visits(vec![on("b.org"), on("c.org")]).await, TOO_MANY_HOSTS);
    assert_eq!(list_hosts(&test).await, [HOST]);
    test.visit(vec![on("b.org"), on("b.org"), on(HOST)]).await;
    assert_eq!(test.write_visits(vec![on("c.org")]).await, TOO_MANY_HOSTS);
    test.hot.visits().remove_host(&host("b.org"), Duration::ZERO).await.expect("Redis responds");
    test.visit(vec![on("c.org")]).await;
}

#[tokio::test]
async fn host_whose_visitors_left_makes_space() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__HOSTS_MAX", "1")]).await;
    test.visit(vec![visit("/", "v")]).await;
    let_host_age(&test, HOST, TTL + Duration::from_secs(61)).await;
    test.visit(vec![on_host("b.org", visit("/", "v"))]).await;
    assert_eq!(list_hosts(&test).await, ["b.org"]);
}

#[tokio::test]
async fn host_is_listed_for_a_minute_after_its_last_visitor() {
    let test = TestStore::create().await;
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
    test.visit(vec![visit("/", "v"), on_host("b.org", visit("/", "v"))]).await;
    let_host_age(&test, HOST, TTL + Duration::from_secs(50)).await;
    assert_eq!(list_hosts(&test).await, [HOST, "b.org"]);
    let_host_age(&test, HOST, TTL + Duration::from_secs(61)).await;
    assert_eq!(list_hosts(&test).await, ["b.org"]);
}

#[tokio::test]
async fn host_is_removed_unless_a_heartbeat_arrived() {
    let test = TestStore::create().await;
    test.visit(vec![visit("/", "v")]).await;
    let remove = async || {
        test.hot.visits().remove_host(&host(HOST), TTL).await.expect("Redis responds");
    };
    remove().await;
    assert_eq!(list_hosts(&test).await, [HOST]);
    let_host_age(&test, HOST, TTL).await;
    remove().await;
    assert_eq!(list_hosts(&test).await, Vec::<String>::new());
}

#[tokio::test]
async fn keys_of_a_host_expire_with_its_visitors() {
    let test = TestStore::create_with(&[("MAYFLY_VISITS__EXACT_MAX", "70")]).await;
    test.visit(crowd("/", 0, 100)).await;
    let own = test.keys().visits(&host(HOST));
    let keys: Vec<String> = test.query(&["KEYS", &format!("{own}*")]).await;
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(is_fresh(test.ttl(&key).await, TTL + Duration::from_secs(10)), "{key}");
    }
    let hosts = test.ttl(&test.keys().visited_hosts()).await;
    assert!(is_fresh(hosts, TTL + Duration::from_secs(60)), "{hosts:?}");
}
