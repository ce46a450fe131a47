//! Trend snapshots.

use std::{collections::HashMap, time::Duration};

use mayfly_core::{PageVisitors, Sample, Timestamp, TrendSnapshot};
use mayfly_hot::{Lease, PublishOutcome};

use super::HOST;
use crate::{TestStore, host, is_fresh, now};

fn snapshot(name: &str, sampled_at: Timestamp) -> TrendSnapshot {
    // A title that looks like the time of a sample.
    let title = Some("\"sampled_at\":\"9999\"".to_owned());
    let pages = vec![PageVisitors { path: "/".into(), title, visitors: 3 }];
    let sample = Sample { host: host(name), sampled_at, visitors: 3, exact: true, pages };
    TrendSnapshot::new(sample, None, &HashMap::new())
}

async fn publish(test: &TestStore, lease: &Lease, snapshot: &TrendSnapshot) -> PublishOutcome {
    test.hot.trends().publish(lease, snapshot).await.expect("Redis responds")
}

async fn find(test: &TestStore) -> Option<TrendSnapshot> {
    test.hot.trends().find(&host(HOST)).await.expect("Redis responds")
}

#[tokio::test]
async fn newer_snapshot_replaces_an_older_one() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    assert_eq!(find(&test).await, None);
    let first = snapshot(HOST, now());
    let second = snapshot(HOST, first.sampled_at.plus(Duration::from_millis(1)));
    for snapshot in [&first, &second] {
        assert_eq!(publish(&test, &lease, snapshot).await, PublishOutcome::Published);
        assert_eq!(find(&test).await.as_ref(), Some(snapshot));
    }
    for stale in [&second, &first] {
        assert_eq!(publish(&test, &lease, stale).await, PublishOutcome::Stale);
    }
    assert_eq!(find(&test).await, Some(second));
    let ttl = test.ttl(&test.keys().rising(&host(HOST))).await;
    assert!(is_fresh(ttl, Duration::from_secs(48 * 3_600)), "{ttl:?}");
}

#[tokio::test]
async fn snapshot_from_a_wrong_clock_is_overwritten() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let current = snapshot(HOST, now());
    let future = snapshot(HOST, current.sampled_at.plus(Duration::from_secs(61)));
    for snapshot in [&future, &current] {
        assert_eq!(publish(&test, &lease, snapshot).await, PublishOutcome::Published);
    }
    assert_eq!(find(&test).await, Some(current));
}

#[tokio::test]
async fn snapshot_is_stored_without_permission_to_publish() {
    let test = TestStore::create().await.restrict(&["resetchannels"]).await;
    let (lease, snapshot) = (test.lead().await, snapshot(HOST, now()));
    assert_eq!(publish(&test, &lease, &snapshot).await, PublishOutcome::Published);
    assert_eq!(find(&test).await, Some(snapshot));
}

#[tokio::test]
async fn former_leader_publishes_no_snapshot() {
    let test = TestStore::create().await;
    let former = test.lead().await;
    test.replace_leader().await;
    let outcome = publish(&test, &former, &snapshot(HOST, now())).await;
    assert_eq!(outcome, PublishOutcome::NotLeader);
    assert_eq!(find(&test).await, None);
}

#[tokio::test]
async fn snapshots_of_many_hosts_are_found_without_missing_and_too_long_ones() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let hosts: Vec<_> = (0..120).map(|number| host(&format!("{number:03}"))).collect();
    for name in &hosts[..110] {
        publish(&test, &lease, &snapshot(name.as_str(), now())).await;
    }
    let (too_long, long) = ("x".repeat(1_024 * 1_024 + 1), "x".repeat(1_024 * 1_024));
    test.query::<()>(&["SET", &test.keys().rising(&hosts[115]), &too_long]).await;
    test.query::<()>(&["SET", &test.keys().rising(&hosts[116]), &long]).await;
    let found = test.hot.trends().find_many(&hosts).await.expect("Redis responds");
    assert_eq!(found.len(), 111);
    let parsed: TrendSnapshot = serde_json::from_slice(&found[109]).expect("a snapshot");
    assert_eq!((parsed.host, found[110].len()), (hosts[109].clone(), long.len()));
}

#[tokio::test]
async fn key_of_the_wrong_type_is_skipped_and_overwritten_by_the_next_snapshot() {
    let test = TestStore::create().await;
    let (lease, hosts) = (test.lead().await, [host(HOST), host("b.org")]);
    publish(&test, &lease, &snapshot("b.org", now())).await;
    test.overwrite(&test.keys().rising(&hosts[0])).await;
    let found = test.hot.trends().find_many(&hosts).await.expect("Redis responds");
    assert_eq!(found.len(), 1);
    assert_eq!(test.source_state("").await.trends, None);
    let next = snapshot(HOST, now());
    assert_eq!(publish(&test, &lease, &next).await, PublishOutcome::Published);
    assert_eq!(find(&test).await, Some(next));
}
