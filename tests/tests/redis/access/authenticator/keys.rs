//! API keys.

use std::time::{Duration, Instant};

use mayfly_auth::{Credentials, Identity, Key, Names, Scope, Scopes};
use mayfly_core::{Clock, SystemClock};
use mayfly_tests::{DEFAULT_TIMEOUT, eventually, with_slack};

use super::{AuthTest, CLIENT, EXPIRED, REVOKED, UNKNOWN, authenticate_key, key, next_change};
use crate::access::revoke;

#[tokio::test]
async fn only_valid_keys_are_accepted() {
    let test = AuthTest::create(&[]).await;
    let (hash, expired) = key("expired");
    let expired = Key { expires_at: Some(SystemClock.now()), ..expired };
    test.load(&[key("valid"), revoke(key("revoked")), (hash, expired)], &[]).await;
    let authenticator = test.start().await;
    let accepted = authenticate_key(&authenticator, "valid").await.expect("a valid key");
    assert_eq!(accepted.scopes, Scopes::from_iter([Scope::Read]));
    for (text, error) in [("expired", EXPIRED), ("revoked", REVOKED), ("other", UNKNOWN)] {
        assert_eq!(authenticate_key(&authenticator, text).await.err(), Some(error), "{text}");
        let cached = authenticator.cached(Some(&Credentials::Key(text)));
        assert!(cached.is_none(), "{text}: only accepted credentials are cached");
    }
}

#[tokio::test]
async fn accepted_key_is_cached_until_the_keys_change() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("cached"), key("other")], &[]).await;
    let authenticator = test.start().await;
    let credentials = Credentials::Key("cached");
    assert!(authenticator.cached(Some(&credentials)).is_none());
    authenticate_key(&authenticator, "cached").await.expect("a valid key");
    // The version does not change.
    let (hash, _) = key("cached");
    let removed = ["HDEL", &test.store.keys().api_keys(), hash.as_str()];
    test.store.query::<()>(&removed).await;
    let cached = authenticator.cached(Some(&credentials)).expect("a cached key");
    assert!(matches!(cached, Ok(Identity::Key(_))), "{cached:?}");
    authenticate_key(&authenticator, "other").await.expect("a valid key");
    let changed = next_change(&authenticator);
    test.put(key("new")).await;
    changed.await;
    assert_eq!(authenticate_key(&authenticator, "cached").await.err(), Some(UNKNOWN));
    authenticate_key(&authenticator, "new").await.expect("a valid key");
}

#[tokio::test]
async fn revoked_key_is_rejected_within_a_second_by_every_process() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("revoked"), key("valid")], &[]).await;
    let authenticators = [test.start().await, test.start().await, test.start().await];
    for authenticator in &authenticators {
        authenticate_key(authenticator, "revoked").await.expect("a valid key");
    }
    let mut changes = authenticators.each_ref().map(|authenticator| authenticator.changes());
    let revoked_at = Instant::now();
    test.put(revoke(key("revoked"))).await;
    for (authenticator, changes) in authenticators.iter().zip(&mut changes) {
        changes.changed().await.expect("the authenticator exists");
        assert!(revoked_at.elapsed() < with_slack(Duration::from_secs(1)));
        assert_eq!(authenticate_key(authenticator, "revoked").await.err(), Some(REVOKED));
        let (hash, key) = key("revoked");
        let recheck = authenticator.recheck(&hash, &Identity::Key(key.into())).await;
        assert_eq!(recheck.err(), Some(REVOKED), "an open connection");
        authenticate_key(authenticator, "valid").await.expect("a valid key");
    }
}

#[tokio::test]
async fn every_change_is_noticed_even_before_a_reload() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("one"), key("two")], &[]).await;
    let authenticator = test.start().await;
    for text in ["one", "two"] {
        authenticate_key(&authenticator, text).await.expect("a valid key");
        let changed = next_change(&authenticator);
        test.put(revoke(key(text))).await;
        changed.await;
        assert_eq!(authenticate_key(&authenticator, text).await.err(), Some(REVOKED));
    }
}

#[tokio::test]
async fn changed_rights_apply_to_open_connections() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("any")], &[]).await;
    let authenticator = test.start().await;
    let (hash, before) = key("any");
    let identity = Identity::Key(authenticate_key(&authenticator, "any").await.expect("valid"));
    let changed = next_change(&authenticator);
    test.put((hash.clone(), Key { hosts: Names::none(), ..before })).await;
    changed.await;
    let after = authenticator.recheck(&hash, &identity).await;
    let Ok(Identity::Key(after)) = after else { panic!("{after:?}") };
    assert!(after.hosts.is_none());
}

#[tokio::test]
async fn cached_key_expires() {
    let test = AuthTest::create(&[]).await;
    let (hash, expiring) = key("any");
    let expires_at = Some(SystemClock.now().plus(Duration::from_secs(1)));
    test.load(&[(hash, Key { expires_at, ..expiring })], &[]).await;
    let authenticator = test.start().await;
    eventually(DEFAULT_TIMEOUT, "the key expires", async || {
        match authenticate_key(&authenticator, "any").await {
            Err(error) if error == EXPIRED => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert!(authenticator.cached(Some(&Credentials::Key("any"))).is_none());
}

#[tokio::test]
async fn key_authenticates_in_the_mode_open() {
    let test = AuthTest::create(&[("MAYFLY_AUTH__MODE", "open")]).await;
    test.load(&[key("valid")], &[]).await;
    let authenticator = test.start().await;
    let credentials = Credentials::Key("other");
    let identity = authenticator.authenticate(Some(&credentials), CLIENT).await;
    assert!(matches!(identity, Ok(Identity::Open)), "{identity:?}");
    for _ in 0..2 {
        authenticator.authenticate_key("valid", CLIENT).await.expect("a valid key");
    }
    let other = authenticator.authenticate_key("other", CLIENT).await;
    assert_eq!(other.err(), Some(UNKNOWN));
}
