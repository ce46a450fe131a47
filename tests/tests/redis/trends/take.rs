//! Deciding whether the source is called, and with which key.

use std::time::Duration;

use mayfly_core::Timestamp;
use mayfly_hot::{CallDenied, CallReason, SourceOutcome};

use super::{HOST, REGISTERED, api_key, denied};
use crate::{LONG, TestStore, access, host, is_fresh};

#[tokio::test]
async fn former_leader_takes_no_call() {
    let test = TestStore::create().await;
    let former = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("key").await;
    let leader = test.replace_leader().await;
    let decision = test.try_take(&former, CallReason::Requested).await;
    assert_eq!(denied(decision), CallDenied::NotLeader);
    test.take(&leader, CallReason::Requested).await;
}

#[tokio::test]
async fn no_call_is_made_before_the_api_keys_are_loaded() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.request_call("key").await;
    let decision = test.try_take(&lease, CallReason::Requested).await;
    assert_eq!(denied(decision), CallDenied::TooSoon(Duration::from_millis(250)));
    test.load_api_keys(&[]).await;
    test.take(&lease, CallReason::Requested).await;
}

#[tokio::test]
async fn calls_for_a_host_are_three_seconds_apart() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("key").await;
    let before = test.now().await;
    let call = test.take(&lease, CallReason::Requested).await;
    assert!(call.called_at >= before);
    assert!(is_fresh(test.ttl(&test.keys().source(&host(HOST))).await, 24 * LONG));
    // The call counts as made, even without an outcome.
    let decision = denied(test.try_take(&lease, CallReason::Requested).await);
    let CallDenied::TooSoon(wait) = decision else { panic!("{decision:?}") };
    assert!((1..=3_000).contains(&wait.as_millis()), "{wait:?}");
    test.let_interval_pass().await;
    test.take(&lease, CallReason::Requested).await;
}

#[tokio::test]
async fn clock_that_was_set_back_does_not_delay_calls() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("key").await;
    let future = test.now().await.plus(Duration::from_secs(60)).as_millis();
    test.set_source("called_at", &future.to_string()).await;
    test.take(&lease, CallReason::Requested).await;
}

#[tokio::test]
async fn host_without_a_key_is_no_longer_requested() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    for reason in [CallReason::Requested, CallReason::Watched] {
        test.query::<()>(&["ZADD", &test.keys().requested_hosts(), "1", HOST]).await;
        assert_eq!(denied(test.try_take(&lease, reason).await), CallDenied::NothingToDo);
        assert_eq!(test.requested_hosts().await, []);
    }
}

#[tokio::test]
async fn oldest_candidate_is_tried_first() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[api_key("known", false)]).await;
    for key in ["first", "known"] {
        test.request_call(key).await;
        test.wait_a_millisecond().await;
    }
    let call = test.call(&lease, CallReason::Requested, SourceOutcome::Refused).await;
    assert_eq!((call.key.as_str(), call.is_trial, call.is_refresh), ("first", true, false));
    let call = test.call(&lease, CallReason::Requested, REGISTERED).await;
    assert_eq!((call.key.as_str(), call.is_trial), ("known", false), "valid for the host");
    assert_eq!(test.requested_hosts().await, []);
}

#[tokio::test]
async fn api_key_of_other_hosts_is_on_trial() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    let of_others = access::api_key("key", &["b.org"]);
    test.load_api_keys(&[of_others]).await;
    test.request_call("key").await;
    assert!(test.take(&lease, CallReason::Requested).await.is_trial);
}

#[tokio::test]
async fn revoked_keys_are_never_used() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("accepted").await;
    test.call(&lease, CallReason::Requested, REGISTERED).await;
    test.load_api_keys(&[api_key("accepted", true), api_key("candidate", true)]).await;
    test.request_call("candidate").await;
    for reason in [CallReason::Requested, CallReason::Watched] {
        assert_eq!(denied(test.try_take(&lease, reason).await), CallDenied::NothingToDo);
    }
    assert!(!test.source_state("accepted").await.is_accepted);
    for key in [test.keys().candidate_keys(&host(HOST)), test.keys().source_secrets(&host(HOST))] {
        assert!(!test.has_key(&key).await, "{key}");
    }
}

#[tokio::test]
async fn request_with_a_revoked_accepted_key_fails() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("key").await;
    test.call(&lease, CallReason::Requested, REGISTERED).await;
    test.set_source("sampled_at", "1").await;
    test.load_api_keys(&[api_key("key", true)]).await;
    assert!(test.request_call("key").await);
    let decision = test.try_take(&lease, CallReason::Requested).await;
    assert_eq!(denied(decision), CallDenied::NothingToDo);
    let failure = test.source_state("key").await.failure.expect("a failure");
    assert!(failure.is_refusal && !test.has_source("wanted_at").await);
}

#[tokio::test]
async fn watched_host_is_called_with_the_key_accepted_last() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    for key in ["one", "two"] {
        test.request_call(key).await;
        let call = test.call(&lease, CallReason::Requested, REGISTERED).await;
        assert_eq!(call.key, key);
        test.wait_a_millisecond().await;
    }
    let call = test.call(&lease, CallReason::Watched, REGISTERED).await;
    assert_eq!((call.key.as_str(), call.is_trial), ("two", false));
    let decision = test.try_take(&lease, CallReason::Requested).await;
    assert_eq!(denied(decision), CallDenied::NothingToDo, "it was not requested");
}

#[tokio::test]
async fn accepted_key_is_used_after_a_candidate_was_refused() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("accepted").await;
    test.call(&lease, CallReason::Requested, REGISTERED).await;
    for candidate in ["wrong 1", "wrong 2"] {
        test.request_call(candidate).await;
    }
    for (is_trial, outcome) in
        [(true, SourceOutcome::Forbidden), (false, REGISTERED), (true, SourceOutcome::Forbidden)]
    {
        let call = test.call(&lease, CallReason::Watched, outcome).await;
        assert_eq!((call.is_trial, call.key == "accepted"), (is_trial, !is_trial));
    }
}

#[tokio::test]
async fn recently_refreshed_host_is_not_refreshed_again() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    test.request_call("key").await;
    let before = test.now().await;
    test.call(&lease, CallReason::Requested, REGISTERED).await;
    let decision = test.try_take(&lease, CallReason::Refresh(before)).await;
    assert_eq!(denied(decision), CallDenied::NothingToDo);
    test.set_source("refreshed_at", "1").await;
    let later = test.now().await.plus(Duration::from_secs(1));
    let call = test.call(&lease, CallReason::Refresh(later), SourceOutcome::Failed).await;
    assert!(call.is_refresh);
    // A failed refresh counts too.
    let refreshed_at: i64 =
        test.query(&["HGET", &test.keys().source(&host(HOST)), "refreshed_at"]).await;
    assert!(Timestamp::from_millis(refreshed_at) >= before);
    let since = CallReason::Refresh(Timestamp::from_millis(refreshed_at));
    assert_eq!(denied(test.try_take(&lease, since).await), CallDenied::NothingToDo);
}

#[tokio::test]
async fn exhausted_quota_pauses_until_the_next_minute_and_fails_requests() {
    let test = TestStore::create().await;
    let lease = test.lead().await;
    test.load_api_keys(&[]).await;
    let this_minute = async || test.now().await.as_millis() / 60_000;
    // Requests a call after 200 calls were made in the minute `minutes_ago` minutes ago.
    let decide = async |minutes_ago: i64| {
        loop {
            test.request_call("key").await;
            test.let_interval_pass().await;
            let minute = this_minute().await;
            test.set_source("minute", &(minute - minutes_ago).to_string()).await;
            test.set_source("calls", "200").await;
            let decision = test.try_take(&lease, CallReason::Requested).await;
            if this_minute().await == minute {
                return decision;
            }
        }
    };
    decide(1).await.expect("a call");
    let decision = denied(decide(0).await);
    let CallDenied::Paused(left) = decision else { panic!("{decision:?}") };
    assert!((1..=60_000).contains(&left.as_millis()), "{left:?}");
    let failure = test.source_state("key").await.failure.expect("a failure");
    assert!(!failure.is_refusal);
    assert_eq!(test.requested_hosts().await, []);
}
