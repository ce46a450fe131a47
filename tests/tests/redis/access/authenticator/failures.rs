//! The limit on failed authentications.

use std::sync::Arc;

use futures_util::future::join_all;
use mayfly_auth::Credentials;
use mayfly_authenticator::{AuthError, Authenticator};
use mayfly_core::TokenRevocation;
use mayfly_tests::{DEFAULT_TIMEOUT, eventually};

use super::{
    AuthTest, CLIENT, EXPIRED, REVOKED, UNKNOWN, authenticate_key, key, next_change,
    tokens::{authenticate, token},
};
use crate::access::revoke;

const LIMIT: (&str, &str) = ("MAYFLY_LIMITS__AUTH_FAILURES", "100/minute");

fn is_limited<T>(result: &Result<T, AuthError>) -> bool {
    matches!(result, Err(AuthError::RateLimited { rate, .. }) if rate.items > 0)
}

/// Authenticates a client by an unknown key.
async fn fail(authenticator: &Authenticator, client: &str) -> Result<(), AuthError> {
    let credentials = Credentials::Key("unknown");
    authenticator.authenticate(Some(&credentials), client).await.map(drop)
}

async fn start_three(test: &AuthTest) -> [Arc<Authenticator>; 3] {
    [test.start().await, test.start().await, test.start().await]
}

#[tokio::test]
async fn failure_above_the_limit_is_rejected_by_every_process() {
    let test = AuthTest::create(&[LIMIT]).await;
    test.load(&[], &[]).await;
    for last in 0..3 {
        let client = format!("2001:db8:0:{last}::/64");
        let authenticators = start_three(&test).await;
        for number in 0..100 {
            assert_eq!(fail(&authenticators[number % 3], &client).await, Err(UNKNOWN));
        }
        assert!(is_limited(&fail(&authenticators[last], &client).await), "{last}");
        for authenticator in &authenticators {
            assert!(is_limited(&fail(authenticator, &client).await));
            assert_eq!(fail(authenticator, "192.0.2.9").await, Err(UNKNOWN), "another client");
        }
    }
}

#[tokio::test]
async fn concurrent_failures_are_counted_exactly() {
    let test = AuthTest::create(&[LIMIT]).await;
    test.load(&[], &[]).await;
    let authenticators = start_three(&test).await;
    let failures = (0..300).map(|number: usize| fail(&authenticators[number % 3], CLIENT));
    let results = join_all(failures).await;
    let failed = results.iter().filter(|result| **result == Err(UNKNOWN)).count();
    let limited = results.iter().filter(|result| is_limited(result)).count();
    assert_eq!((failed, limited), (100, 200));
}

#[tokio::test]
async fn limited_client_is_rejected_without_verification_unless_its_credentials_are_cached() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "3/minute")]).await;
    test.load(&[key("cached"), key("new")], &[]).await;
    let authenticator = test.start().await;
    authenticate_key(&authenticator, "cached").await.expect("a valid key");
    for _ in 0..3 {
        assert_eq!(fail(&authenticator, CLIENT).await, Err(UNKNOWN));
    }
    assert!(is_limited(&fail(&authenticator, CLIENT).await));
    authenticate_key(&authenticator, "cached").await.expect("a cached key");
    assert!(is_limited(&authenticate_key(&authenticator, "new").await));
    assert!(is_limited(&authenticator.authenticate_key("new", CLIENT).await));
    let error = authenticator.count_failure(CLIENT).await;
    assert!(is_limited(&Err::<(), _>(error)));

    // An operator deletes the window.
    let window = test.store.keys().rate("auth_failures", 60, CLIENT);
    test.store.query::<()>(&["DEL", &window]).await;
    eventually(DEFAULT_TIMEOUT, "the client is accepted again", async || {
        authenticate_key(&authenticator, "new").await
    })
    .await;
}

#[tokio::test]
async fn limited_client_keeps_access_by_known_credentials_when_keys_change() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "3/minute")]).await;
    test.load(&[key("known"), key("new")], &[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    authenticate_key(&authenticator, "known").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");
    while !is_limited(&fail(&authenticator, CLIENT).await) {}

    // Every change of a key or a revocation makes all cached entries outdated.
    let changed = next_change(&authenticator);
    test.put(key("other")).await;
    changed.await;
    let changed = next_change(&authenticator);
    test.revoke_tokens(&TokenRevocation::Token("other".into())).await;
    changed.await;
    assert!(is_limited(&authenticate_key(&authenticator, "new").await));
    authenticate_key(&authenticator, "known").await.expect("a known key");
    authenticator.authenticate_key("known", CLIENT).await.expect("a known key");
    authenticate(&authenticator, &valid).await.expect("a known token");

    // Rejected credentials are no longer known, and count as failures.
    let changed = next_change(&authenticator);
    test.put(revoke(key("known"))).await;
    changed.await;
    let revoked = authenticator.authenticate_key("known", CLIENT).await;
    assert_eq!(revoked.err(), Some(REVOKED));
    assert!(is_limited(&authenticate_key(&authenticator, "known").await));
    assert!(is_limited(&authenticator.authenticate_key("known", CLIENT).await));
}

#[tokio::test]
async fn expired_token_is_no_failed_attempt() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "1/minute")]).await;
    test.load(&[], &[]).await;
    let authenticator = test.start().await;
    for _ in 0..5 {
        let expired = token("fred", None, -31);
        assert_eq!(authenticate(&authenticator, &expired).await.err(), Some(EXPIRED));
    }
    let window = test.store.keys().rate("auth_failures", 60, CLIENT);
    assert!(!test.store.has_key(&window).await);
    assert_eq!(authenticator.count_failure(CLIENT).await, UNKNOWN);
    assert!(is_limited(&Err::<(), _>(authenticator.count_failure(CLIENT).await)));
}

#[tokio::test]
async fn limit_can_be_disabled() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "off")]).await;
    test.load(&[], &[]).await;
    let authenticator = test.start().await;
    for _ in 0..200 {
        assert_eq!(fail(&authenticator, CLIENT).await, Err(UNKNOWN));
    }
}
