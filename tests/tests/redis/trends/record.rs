//! Recording the outcomes of calls.

use std::time::Duration;

use mayfly_core::{KeyHash, Timestamp, limits::SOURCE_PAUSE_MAX};
use mayfly_hot::{CallDenied, CallReason, SourceOutcome, UnregisteredKey};

use super::{HOST, REGISTERED, denied};
use crate::{TestStore, host, is_fresh};

const REQUESTED: CallReason = CallReason::Requested;

/// Creates a store with loaded API keys, an elected publisher and a requested call.
async fn requested(key: &str) -> (TestStore, mayfly_hot::Lease) {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    assert!(test.request_call(key).await);
    (test, lease)
}

#[tokio::test]
async fn answer_accepts_the_key_and_ends_the_request() {
    let (test, lease) = requested("key").await;
    test.call(&lease, REQUESTED, REGISTERED).await;
    let state = test.source_state("key").await;
    assert!(state.is_accepted && !state.is_refused && state.failure.is_none());
    assert_eq!(test.requested_hosts().await, []);
    assert_eq!(test.hot.source().find_unregistered_keys().await.expect("Redis responds"), []);
    let month = Duration::from_secs(30 * 24 * 3_600);
    for key in [test.keys().source_keys(&host(HOST)), test.keys().source_secrets(&host(HOST))] {
        assert!(is_fresh(test.ttl(&key).await, month), "{key}");
    }
}

#[tokio::test]
async fn answer_to_a_refused_key_makes_it_accepted() {
    let (test, lease) = requested("key").await;
    let refused = test.keys().refused_key(KeyHash::from_key("key").as_str(), &host(HOST));
    test.query::<()>(&["SET", &refused, "1"]).await;
    test.call(&lease, REQUESTED, REGISTERED).await;
    let state = test.source_state("key").await;
    assert!(state.is_accepted && !state.is_refused);
}

#[tokio::test]
async fn unregistered_key_is_listed_until_it_is_registered() {
    let (test, lease) = requested("0123456789abcdefghij").await;
    test.call(&lease, REQUESTED, SourceOutcome::Answered { is_registered: false }).await;
    let source = test.hot.source();
    let digest = KeyHash::from_key("0123456789abcdefghij");
    let expected = UnregisteredKey { digest, start: "01234".into(), host: host(HOST) };
    let found = source.find_unregistered_keys().await.expect("Redis responds");
    assert_eq!(found, [expected]);
    source.mark_key_registered(&found[0]).await.expect("Redis responds");
    assert_eq!(source.find_unregistered_keys().await.expect("Redis responds"), []);
}

#[tokio::test]
async fn refused_candidate_is_not_a_failure_of_the_host() {
    for outcome in [SourceOutcome::Refused, SourceOutcome::Forbidden] {
        let (test, lease) = requested("wrong").await;
        let call = test.call(&lease, REQUESTED, outcome).await;
        assert!(call.is_trial);
        let state = test.source_state("wrong").await;
        assert!(state.is_refused && !state.is_accepted, "{outcome:?}");
        assert_eq!(state.failure, None, "{outcome:?}");
        assert!(!test.source_state("other").await.is_refused);
        let refused = test.keys().refused_key(KeyHash::from_key("wrong").as_str(), &host(HOST));
        assert!(is_fresh(test.ttl(&refused).await, Duration::from_secs(60)), "{outcome:?}");
        assert_eq!(test.requested_hosts().await, []);
    }
}

#[tokio::test]
async fn host_stays_requested_while_candidates_remain() {
    let (test, lease) = requested("wrong").await;
    let call = test.take(&lease, REQUESTED).await;
    test.request_call("other").await;
    assert!(test.record(&lease, &call, SourceOutcome::Refused).await);
    assert_eq!(test.requested_hosts().await, [host(HOST)]);
}

#[tokio::test]
async fn accepted_key_that_is_forbidden_is_removed_and_fails_the_request() {
    for (outcome, is_accepted) in
        [(SourceOutcome::Refused, true), (SourceOutcome::Forbidden, false)]
    {
        let (test, lease) = requested("key").await;
        test.call(&lease, REQUESTED, REGISTERED).await;
        test.set_source("sampled_at", "1").await;
        test.request_call("key").await;
        let call = test.call(&lease, REQUESTED, outcome).await;
        assert!(!call.is_trial);
        let state = test.source_state("key").await;
        assert_eq!(state.is_accepted, is_accepted, "{outcome:?}");
        assert!(state.failure.is_some_and(|failure| failure.is_refusal), "{outcome:?}");
        let has_secret = test.has_key(&test.keys().source_secrets(&host(HOST))).await;
        assert_eq!(has_secret, is_accepted, "{outcome:?}");
        assert_eq!(test.requested_hosts().await, []);
    }
}

#[tokio::test]
async fn failure_is_reported_to_all_callers() {
    let (test, lease) = requested("one").await;
    test.request_call("two").await;
    let before = test.now().await;
    test.call(&lease, REQUESTED, SourceOutcome::Failed).await;
    for key in ["one", "two"] {
        let failure = test.source_state(key).await.failure.expect("a failure");
        assert!(!failure.is_refusal && failure.at >= before);
    }
    assert_eq!(test.requested_hosts().await, []);
    assert!(!test.has_source("refreshed_at").await);
    test.request_call("one").await;
    test.call(&lease, REQUESTED, REGISTERED).await;
    assert_eq!(test.source_state("one").await.failure, None);
}

#[tokio::test]
async fn pause_denies_calls_and_fails_requests() {
    let (test, lease) = requested("key").await;
    let call = test.take(&lease, REQUESTED).await;
    let pause = Some(Duration::from_secs(60));
    let recorded =
        test.hot.source().record_call(&lease, &call, call.called_at, SourceOutcome::Failed, pause);
    assert!(recorded.await.expect("Redis responds"));
    test.let_interval_pass().await;
    test.set_source("failed_at", "1").await;
    test.request_call("key").await;
    let decision = denied(test.try_take(&lease, REQUESTED).await);
    let CallDenied::Paused(left) = decision else { panic!("{decision:?}") };
    assert!(is_fresh(left, Duration::from_secs(60)));
    let failure = test.source_state("key").await.failure.expect("a failure");
    assert!(!failure.is_refusal && failure.at > Timestamp::from_millis(1));
    assert!(!test.has_key(&test.keys().candidate_keys(&host(HOST))).await);
    assert_eq!(test.requested_hosts().await, []);
    test.set_source("paused_until", "1").await;
    test.request_call("key").await;
    test.take(&lease, REQUESTED).await;
}

#[tokio::test]
async fn pause_above_the_maximum_is_ignored() {
    let (test, lease) = requested("key").await;
    // As if the clock had been set back by an hour.
    let until = test.now().await.plus(SOURCE_PAUSE_MAX + Duration::from_secs(60));
    test.set_source("paused_until", &until.as_millis().to_string()).await;
    test.take(&lease, REQUESTED).await;
    test.let_interval_pass().await;
    let until = test.now().await.plus(SOURCE_PAUSE_MAX);
    test.set_source("paused_until", &until.as_millis().to_string()).await;
    let decision = denied(test.try_take(&lease, REQUESTED).await);
    let CallDenied::Paused(left) = decision else { panic!("{decision:?}") };
    assert!(is_fresh(left, SOURCE_PAUSE_MAX));
}

#[tokio::test]
async fn interval_begins_when_the_call_arrives_but_at_most_a_second_later() {
    let (test, lease) = requested("key").await;
    let call = test.take(&lease, REQUESTED).await;
    let called_at = call.called_at;
    for (ended_after, arrived_after) in [(400, 400), (5_000, 1_400), (0, 1_400)] {
        let ended_at = called_at.plus(Duration::from_millis(ended_after));
        let recorded =
            test.hot.source().record_call(&lease, &call, ended_at, SourceOutcome::Failed, None);
        assert!(recorded.await.expect("Redis responds"));
        let stored: i64 =
            test.query(&["HGET", &test.keys().source(&host(HOST)), "called_at"]).await;
        assert_eq!(stored - called_at.as_millis(), arrived_after, "{ended_after}");
    }
}

#[tokio::test]
async fn outcome_of_a_former_leader_is_not_recorded() {
    let (test, former) = requested("key").await;
    let call = test.take(&former, REQUESTED).await;
    test.replace_leader().await;
    assert!(!test.record(&former, &call, REGISTERED).await);
    assert!(!test.source_state("key").await.is_accepted);
    assert_eq!(test.requested_hosts().await, [host(HOST)]);
}

#[tokio::test]
async fn at_most_100_keys_of_a_host_are_kept() {
    let (test, lease) = requested("new").await;
    let (keys, secrets) =
        (test.keys().source_keys(&host(HOST)), test.keys().source_secrets(&host(HOST)));
    for number in 0..100 {
        let digest = number.to_string();
        test.query::<()>(&["ZADD", &keys, &digest, &digest]).await;
        test.query::<()>(&["HSET", &secrets, &digest, "secret"]).await;
    }
    test.call(&lease, REQUESTED, REGISTERED).await;
    let count: (u64, u64) =
        (test.query(&["ZCARD", &keys]).await, test.query(&["HLEN", &secrets]).await);
    assert_eq!(count, (100, 100));
    let oldest: Vec<String> = test.query(&["ZRANGE", &keys, "0", "0"]).await;
    assert_eq!(oldest, ["1"]);
    assert!(test.source_state("new").await.is_accepted);
}
