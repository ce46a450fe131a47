//! Requests for calls to the visitor source.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_hot::{CallReason, SourceOutcome};

use super::{HOST, REGISTERED};
use crate::{LONG, TestStore, host, is_fresh};

async fn count_candidates(test: &TestStore) -> u64 {
    test.query(&["HLEN", &test.keys().candidate_keys(&host(HOST))]).await
}

#[tokio::test]
async fn hosts_are_requested_once_in_order_of_the_first_request() {
    let test = TestStore::create().await;
    for name in ["b.org", "a.org", "b.org"] {
        let requested = test.hot.source().request_call(&host(name), "key").await;
        assert!(requested.expect("Redis responds"));
        // Requests are ordered by their times in milliseconds.
        test.wait_a_millisecond().await;
    }
    assert_eq!(test.requested_hosts().await, ["b.org", "a.org"].map(host));
}

#[tokio::test]
async fn new_key_is_a_candidate_for_a_minute_after_the_last_request() {
    let test = TestStore::create().await;
    assert!(test.request_call("one").await);
    let candidates = test.keys().candidate_keys(&host(HOST));
    assert!(is_fresh(test.ttl(&candidates).await, Duration::from_secs(60)));
    assert!(test.request_call("two").await);
    test.query::<()>(&["PEXPIRE", &candidates, "5000"]).await;
    assert!(test.request_call("one").await);
    assert_eq!(count_candidates(&test).await, 2);
    assert!(is_fresh(test.ttl(&candidates).await, Duration::from_secs(60)));
}

#[tokio::test]
async fn too_many_candidates_are_rejected() {
    let test = TestStore::create().await;
    for number in 0..100 {
        assert!(test.request_call(&number.to_string()).await, "{number}");
    }
    assert!(!test.request_call("100").await);
    assert!(test.request_call("99").await, "it is a candidate already");
    assert_eq!(count_candidates(&test).await, 100);
}

#[tokio::test]
async fn too_many_hosts_are_rejected() {
    let test = TestStore::create().await;
    let hosts: Vec<_> = (0..1_000).flat_map(|number| ["1".into(), number.to_string()]).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    test.query::<()>(&[&["ZADD", &test.keys().requested_hosts()], &hosts[..]].concat()).await;
    assert!(!test.request_call("key").await);
    let known = test.hot.source().request_call(&host("7"), "key").await;
    assert!(known.expect("Redis responds"));
}

#[tokio::test]
async fn accepted_key_requests_a_call_unless_the_last_outcome_is_recent() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    for outcome in [REGISTERED, SourceOutcome::Failed] {
        test.request_call("key").await;
        test.call(&lease, CallReason::Requested, outcome).await;
        assert!(test.request_call("key").await);
        assert_eq!(test.requested_hosts().await, [], "{outcome:?}");
        // As if the outcome were old.
        test.set_source("sampled_at", "1").await;
        test.set_source("failed_at", "1").await;
        let source = test.keys().source(&host(HOST));
        test.query::<()>(&["PERSIST", &source]).await;
        assert!(test.request_call("key").await);
        assert!(is_fresh(test.ttl(&source).await, 24 * LONG));
        assert_eq!(
            (test.requested_hosts().await, count_candidates(&test).await),
            (vec![host(HOST)], 0)
        );
    }
}

#[tokio::test]
async fn initial_state_contains_only_the_time_of_redis() {
    let test = TestStore::create().await;
    let before = test.now().await;
    let state = test.source_state("key").await;
    assert!(state.now >= Some(before));
    assert_eq!((state.trends, state.failure), (None, None));
    assert!(!state.is_accepted && !state.is_refused);
}

#[tokio::test]
async fn refused_key_is_not_a_candidate() {
    let test = TestStore::create().await;
    let refused = test.keys().refused_key(KeyHash::from_key("key").as_str(), &host(HOST));
    test.query::<()>(&["SET", &refused, "1"]).await;
    assert!(test.request_call("key").await);
    assert_eq!(count_candidates(&test).await, 0);
    assert!(test.source_state("key").await.is_refused);
}
