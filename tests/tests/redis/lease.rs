//! Leases.

use std::time::Duration;

use mayfly_core::Clock;
use mayfly_hot::Role;

use crate::{JOB, LONG, TestStore, is_fresh};

#[tokio::test]
async fn one_of_many_candidates_acquires_a_free_lease() {
    let test = TestStore::create().await;
    let roles = (0..16).map(|_| async {
        let mut lease = test.candidate();
        lease.acquire_or_renew().await.expect("Redis responds")
    });
    let roles = futures_util::future::join_all(roles).await;
    assert_eq!(roles.iter().filter(|role| **role == Role::Leader).count(), 1, "{roles:?}");
}

#[tokio::test]
async fn standby_receives_the_remaining_time_of_the_lease() {
    let test = TestStore::create().await;
    let _leader = test.lead().await;
    test.query::<()>(&["PEXPIRE", &test.keys().lease(JOB), "60000"]).await;
    let mut standby = test.candidate();
    let role = standby.acquire_or_renew().await.expect("Redis responds");
    let Role::Standby(remaining) = role else { panic!("{role:?}") };
    assert!(is_fresh(remaining, Duration::from_secs(60)), "{remaining:?}");
    assert_eq!((standby.token(), standby.remaining()), (None, Duration::ZERO));
}

#[tokio::test]
async fn renewal_keeps_the_token_and_extends_the_lease() {
    let test = TestStore::create().await;
    let mut leader = test.lead().await;
    let token = leader.token();
    test.query::<()>(&["PEXPIRE", &test.keys().lease(JOB), "60000"]).await;
    assert_eq!(leader.acquire_or_renew().await.expect("Redis responds"), Role::Leader);
    assert!(token.is_some() && leader.token() == token);
    assert!(is_fresh(test.ttl(&test.keys().lease(JOB)).await, LONG));
    assert!(is_fresh(leader.remaining(), LONG));
}

#[tokio::test]
async fn released_lease_is_free_and_the_next_token_is_greater() {
    let test = TestStore::create().await;
    let mut first = test.lead().await;
    let token = first.token();
    first.release().await.expect("Redis responds");
    assert_eq!(first.token(), None);
    assert!(!test.has_key(&test.keys().lease(JOB)).await);
    let second = test.lead().await;
    assert!(second.token() > token, "{:?} {token:?}", second.token());
    let stored: Option<u64> = test.query(&["GET", &test.keys().lease_token(JOB)]).await;
    assert_eq!(stored, second.token());
}

#[tokio::test]
async fn expired_lease_passes_to_another_candidate() {
    let test = TestStore::create().await;
    let mut first = test.lead().await;
    let token = first.token();
    test.query::<()>(&["DEL", &test.keys().lease(JOB)]).await;
    let second = test.lead().await;
    assert!(second.token() > token);
    let role = first.acquire_or_renew().await.expect("Redis responds");
    assert!(matches!(role, Role::Standby(_)), "{role:?}");
    assert_eq!(first.token(), None);
}

/// Another program can remove the time to live, for example by restoring a copy of the keys.
#[tokio::test]
async fn lease_without_a_time_to_live_expires() {
    let test = TestStore::create().await;
    let key = test.keys().lease(JOB);
    let mut leader = test.lead().await;
    let changes =
        [&["PERSIST", &key][..], &["SET", &key, "1:unknown"][..], &["SET", &key, "unknown"][..]];
    for change in changes {
        test.query::<()>(change).await;
        let role = test.candidate().acquire_or_renew().await.expect("Redis responds");
        let Role::Standby(remaining) = role else { panic!("{change:?}: {role:?}") };
        assert!(is_fresh(remaining, LONG), "{change:?}: {remaining:?}");
        assert!(is_fresh(test.ttl(&key).await, LONG), "{change:?}");
    }
    test.query::<()>(&["DEL", &key]).await;
    leader.acquire_or_renew().await.expect("Redis responds");
    test.query::<()>(&["PERSIST", &key]).await;
    assert_eq!(leader.acquire_or_renew().await.expect("Redis responds"), Role::Leader);
    assert!(is_fresh(test.ttl(&key).await, LONG), "the holder renews its lease");
}

#[tokio::test]
async fn lease_key_of_the_wrong_type_is_overwritten() {
    let test = TestStore::create().await;
    test.overwrite(&test.keys().lease(JOB)).await;
    test.overwrite(&test.keys().lease_token(JOB)).await;
    let leader = test.lead().await;
    assert!(leader.token().is_some());
    assert!(is_fresh(test.ttl(&test.keys().lease(JOB)).await, LONG));
    let role = test.candidate().acquire_or_renew().await.expect("Redis responds");
    assert!(matches!(role, Role::Standby(_)), "{role:?}");
    // A last token that is not a number counts as missing too.
    test.query::<()>(&["SET", &test.keys().lease_token(JOB), "x"]).await;
    assert!(test.replace_leader().await.token() >= leader.token());
}

#[tokio::test]
async fn release_of_a_lost_lease_does_not_affect_the_new_holder() {
    let test = TestStore::create().await;
    let mut first = test.lead().await;
    test.query::<()>(&["DEL", &test.keys().lease(JOB)]).await;
    let mut second = test.lead().await;
    first.release().await.expect("Redis responds");
    assert_eq!(second.acquire_or_renew().await.expect("Redis responds"), Role::Leader);
}

#[tokio::test]
async fn token_is_at_least_the_time_and_greater_than_the_previous_token() {
    let test = TestStore::create().await;
    let before = test.now().await;
    let mut lease = test.lead().await;
    assert!(lease.token() >= u64::try_from(before.as_millis()).ok(), "{:?}", lease.token());
    // As if the clock had been set back.
    lease.release().await.expect("Redis responds");
    test.query::<()>(&["SET", &test.keys().lease_token(JOB), "9000000000000000"]).await;
    assert_eq!(test.lead().await.token(), Some(9_000_000_000_000_001));
}

#[tokio::test]
async fn renewal_reads_the_clock_of_redis() {
    let test = TestStore::create().await;
    assert!(!test.hot.clock().is_synchronized());
    let _leader = test.lead().await;
    test.assert_now(async { (test.hot.clock().now(), ()) }).await;
    assert!(test.hot.clock().is_synchronized());
}
