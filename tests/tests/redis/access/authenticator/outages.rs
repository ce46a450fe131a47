//! Authentication while Redis is unavailable or has lost data.

use std::{sync::Arc, time::Duration};

use mayfly_auth::{Credentials, Identity};
use mayfly_authenticator::{AuthError, Authenticator};
use mayfly_runtime::{Health, Lifecycle};
use mayfly_tests::{DEFAULT_TIMEOUT, eventually};

use super::{
    AuthTest, CLIENT, REVOKED, UNKNOWN, authenticate_key, key, next_change,
    tokens::{authenticate, forged_token, token},
};
use crate::{TestStore, access::revoke};

/// Starts an authenticator that connects to Redis as a user with its own permissions. Returns the
/// store of this user too.
async fn start_restricted(test: &AuthTest) -> (Arc<Authenticator>, TestStore) {
    let user = test.store.restrict(&[]).await;
    let health = Health::new(Lifecycle::new(DEFAULT_TIMEOUT));
    let authenticator = Authenticator::start(&user.hot, &test.store.settings, &health);
    next_change(&authenticator).await;
    (authenticator, user)
}

/// Changes the permissions of the user that [`start_restricted`] created.
async fn set_permissions(test: &AuthTest, rule: &str) {
    let user = &test.store.settings.redis.prefix;
    test.store.query::<()>(&["ACL", "SETUSER", user, rule]).await;
}

#[tokio::test]
async fn credentials_are_not_checked_before_keys_and_revocations_are_loaded() {
    let test = AuthTest::create(&[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    let key_error = authenticate_key(&authenticator, "any").await.err();
    let token_error = authenticate(&authenticator, &valid).await.err();
    assert_eq!((key_error, token_error), (Some(AuthError::NotLoaded), Some(AuthError::NotLoaded)));
    test.load(&[key("any")], &[]).await;
    authenticate_key(&authenticator, "any").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");
}

#[tokio::test]
async fn lost_data_rejects_all_credentials_until_it_is_restored() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("any")], &[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    let accepted = authenticate_key(&authenticator, "any").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");

    let keys = test.store.keys();
    let lost = [
        keys.api_keys(),
        keys.api_keys_version(),
        keys.token_revocations(),
        keys.token_revocations_version(),
    ];
    let words: Vec<_> = ["DEL"].into_iter().chain(lost.iter().map(String::as_str)).collect();
    let changed = next_change(&authenticator);
    test.store.query::<()>(&words).await;
    changed.await;
    for _ in 0..3 {
        let errors = [
            authenticate_key(&authenticator, "any").await.err(),
            authenticate_key(&authenticator, "unknown").await.err(),
            authenticate(&authenticator, &valid).await.err(),
        ];
        assert_eq!(errors, [Some(AuthError::NotLoaded); 3]);
    }
    let (hash, _) = key("any");
    let recheck = authenticator.recheck(&hash, &Identity::Key(accepted)).await;
    assert_eq!(recheck.err(), Some(AuthError::NotLoaded), "an open connection");

    test.load(&[key("any")], &[]).await;
    authenticate_key(&authenticator, "any").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");
    assert_eq!(authenticate_key(&authenticator, "unknown").await.err(), Some(UNKNOWN));
}

/// Pretends that the rows of a mirror were loaded in another run of Redis, as after a restart from a
/// snapshot.
async fn change_run(test: &AuthTest, rows: &str) {
    let mark: String = test.store.query(&["HGET", rows, ""]).await;
    let mut words: Vec<_> = mark.split(' ').collect();
    let run_id = words.get(1).copied().expect("the mark contains the run ID");
    let info: String = test.store.query(&["INFO", "server"]).await;
    assert!(info.contains(&format!("run_id:{run_id}")), "{mark}");
    let other = "0".repeat(run_id.len());
    words[1] = &other;
    test.store.query::<()>(&["HSET", rows, "", &words.join(" ")]).await;
}

#[tokio::test]
async fn rows_of_another_run_of_redis_are_not_trusted() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("any")], &[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    let accepted = authenticate_key(&authenticator, "any").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");
    let changed = next_change(&authenticator);
    change_run(&test, &test.store.keys().api_keys()).await;
    changed.await;
    let not_loaded = Some(AuthError::NotLoaded);
    assert_eq!(authenticate_key(&authenticator, "any").await.err(), not_loaded);
    let (hash, _) = key("any");
    let recheck = authenticator.recheck(&hash, &Identity::Key(accepted)).await;
    assert_eq!(recheck.err(), not_loaded, "an open connection");
    authenticate(&authenticator, &valid).await.expect("the revocations are loaded");
    let changed = next_change(&authenticator);
    change_run(&test, &test.store.keys().token_revocations()).await;
    changed.await;
    assert_eq!(authenticate(&authenticator, &valid).await.err(), not_loaded);

    let changed = next_change(&authenticator);
    test.load(&[revoke(key("any"))], &[]).await;
    changed.await;
    assert_eq!(authenticate_key(&authenticator, "any").await.err(), Some(REVOKED));
    authenticate(&authenticator, &valid).await.expect("a valid token");
}

#[tokio::test]
async fn cache_is_not_trusted_after_a_second_without_redis() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("any")], &[]).await;
    let (authenticator, _user) = start_restricted(&test).await;
    let valid = token("fred", None, 600);
    authenticate_key(&authenticator, "any").await.expect("a valid key");
    authenticate(&authenticator, &valid).await.expect("a valid token");
    set_permissions(&test, "-@all").await;
    eventually(DEFAULT_TIMEOUT, "the cache is not trusted", async || {
        let key = authenticator.cached(Some(&Credentials::Key("any")));
        let token = authenticator.cached(Some(&Credentials::Token(&valid)));
        if key.is_none() && token.is_none() { Ok(()) } else { Err((key, token)) }
    })
    .await;
    let unavailable = Some(AuthError::Unavailable);
    assert_eq!(authenticate_key(&authenticator, "any").await.err(), unavailable);
    assert_eq!(authenticate(&authenticator, &valid).await.err(), unavailable);
    // The key is revoked during the outage.
    test.put(revoke(key("any"))).await;
    set_permissions(&test, "+@all").await;
    assert_eq!(authenticate_key(&authenticator, "any").await.err(), Some(REVOKED));
    authenticate(&authenticator, &valid).await.expect("a valid token");
}

#[tokio::test]
async fn failing_limiter_refuses_no_known_credentials_and_accepts_no_others() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "3/minute")]).await;
    test.load(&[key("known"), key("new")], &[]).await;
    let (authenticator, _user) = start_restricted(&test).await;
    authenticate_key(&authenticator, "known").await.expect("a valid key");
    // The process can look up keys, but cannot count failures.
    for rule in ["resetkeys", "~*:keys*", "~*:revocations*"] {
        set_permissions(&test, rule).await;
    }
    let authenticate = async |text: &str, client: &str| {
        let credentials = Credentials::Key(text);
        authenticator.authenticate(Some(&credentials), client).await.map(drop)
    };
    for _ in 0..3 {
        assert_eq!(authenticate("unknown", CLIENT).await, Err(UNKNOWN));
    }
    for text in ["unknown", "new"] {
        let limited = authenticate(text, CLIENT).await;
        assert!(matches!(limited, Err(AuthError::RateLimited { .. })), "{text}: {limited:?}");
    }
    assert_eq!(authenticate("new", "192.0.2.2").await, Ok(()), "another client");
    let changed = next_change(&authenticator);
    test.put(key("other")).await;
    changed.await;
    assert_eq!(authenticate("known", CLIENT).await, Ok(()), "checked again");
}

#[tokio::test]
async fn failures_are_limited_per_process_while_redis_is_unavailable() {
    let test = AuthTest::create(&[("MAYFLY_LIMITS__AUTH_FAILURES", "3/minute")]).await;
    test.load(&[key("known")], &[]).await;
    let (authenticator, _user) = start_restricted(&test).await;
    authenticate_key(&authenticator, "known").await.expect("a valid key");
    set_permissions(&test, "-@all").await;
    let forged = forged_token();
    let fail = async |client: &str| {
        let credentials = Credentials::Token(&forged);
        authenticator.authenticate(Some(&credentials), client).await.err()
    };
    for _ in 0..3 {
        assert_eq!(fail(CLIENT).await, Some(UNKNOWN));
    }
    let limited = fail(CLIENT).await;
    assert!(
        matches!(limited, Some(AuthError::RateLimited { retry_after, .. })
        if retry_after <= Duration::from_secs(60)),
        "{limited:?}"
    );
    assert_eq!(fail("192.0.2.2").await, Some(UNKNOWN), "another client");
    eventually(DEFAULT_TIMEOUT, "the cache is not trusted", async || {
        match authenticate_key(&authenticator, "known").await {
            Err(AuthError::Unavailable) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    set_permissions(&test, "+@all").await;
    authenticate_key(&authenticator, "known").await.expect("a known key of a limited client");
}
