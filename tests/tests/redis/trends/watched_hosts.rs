//! Watched hosts.

use std::time::Duration;

use mayfly_core::Host;

use crate::{TestStore, host, is_fresh};

async fn watch(test: &TestStore, hosts: &[Host]) {
    test.hot.trends().watch_hosts(hosts).await.expect("Redis responds");
}

/// Records that the source has accepted a key for each of the hosts.
async fn accept_keys(test: &TestStore, hosts: &[Host]) {
    for host in hosts {
        test.query::<()>(&["ZADD", &test.keys().source_keys(host), "1", "digest"]).await;
    }
}

async fn list(test: &TestStore) -> Vec<Host> {
    let mut hosts = test.hot.trends().list_watched_hosts().await.expect("Redis responds");
    hosts.sort();
    hosts
}

async fn let_age(test: &TestStore, name: &str, age: Duration) {
    let at = test.now().await.minus(age).as_millis().to_string();
    test.query::<()>(&["ZADD", &test.keys().watched_hosts(), "XX", &at, name]).await;
}

#[tokio::test]
async fn host_is_watched_for_five_seconds_after_the_last_report() {
    let test = TestStore::create().await;
    watch(&test, &[]).await;
    assert_eq!(list(&test).await, []);
    let hosts = ["a.org", "b.org", "c.org"].map(host);
    accept_keys(&test, &hosts).await;
    watch(&test, &hosts).await;
    for name in ["a.org", "b.org"] {
        let_age(&test, name, Duration::from_secs(5)).await;
    }
    watch(&test, &[host("a.org")]).await;
    assert_eq!(list(&test).await, ["a.org", "c.org"].map(host));
    assert!(is_fresh(test.ttl(&test.keys().watched_hosts()).await, Duration::from_secs(5)));
    let_age(&test, "c.org", Duration::from_secs(5)).await;
    assert_eq!(list(&test).await, [host("a.org")]);
}

#[tokio::test]
async fn at_most_1000_hosts_are_watched() {
    let test = TestStore::create().await;
    let hosts: Vec<_> = (0..1_001).map(|number| host(&format!("{number:04}"))).collect();
    accept_keys(&test, &hosts).await;
    watch(&test, &hosts).await;
    assert_eq!(list(&test).await, hosts[..1_000]);
    watch(&test, &hosts[1_000..]).await;
    assert_eq!(list(&test).await, hosts[..1_000]);
    assert_eq!(test.query::<u64>(&["ZCARD", &test.keys().watched_hosts()]).await, 1_000);
    let_age(&test, "0000", Duration::from_secs(5)).await;
    watch(&test, &hosts[1_000..]).await;
    assert_eq!(list(&test).await, hosts[1..]);
}

#[tokio::test]
async fn hosts_without_an_accepted_key_are_not_watched() {
    let test = TestStore::create().await;
    let invented: Vec<_> = (0..1_000).map(|number| host(&format!("{number:04}"))).collect();
    let known = host("a.org");
    accept_keys(&test, std::slice::from_ref(&known)).await;
    watch(&test, &invented).await;
    watch(&test, std::slice::from_ref(&known)).await;
    assert_eq!(list(&test).await, [known]);
    accept_keys(&test, &invented[..1]).await;
    watch(&test, &invented).await;
    assert_eq!(list(&test).await, [host("0000"), host("a.org")]);
}

#[tokio::test]
async fn watched_host_is_renewed_at_the_maximum() {
    let test = TestStore::create().await;
    let hosts: Vec<_> = (0..1_000).map(|number| host(&format!("{number:04}"))).collect();
    accept_keys(&test, &hosts).await;
    watch(&test, &hosts).await;
    let_age(&test, "0007", Duration::from_secs(4)).await;
    watch(&test, &[host("0007")]).await;
    let key = test.keys().watched_hosts();
    let at: i64 = test.query(&["ZSCORE", &key, "0007"]).await;
    assert!(test.now().await.as_millis() - at < 3_000);
}
