//! Tokens.

use std::{sync::Arc, time::Duration};

use mayfly_auth::{Credentials, Identity, Token, TokenRights};
use mayfly_authenticator::{AuthError, Authenticator};
use mayfly_core::{Clock, SystemClock, TokenRevocation};
use mayfly_tests::{sign_token, with_slack};
use tokio::time::Instant;

use super::{AuthTest, CLIENT, EXPIRED, REVOKED, SECRET, UNKNOWN, key, next_change};

/// Returns a token that was issued two minutes ago and expires after `ttl_s` from now.
pub(super) fn token(subject: &str, id: Option<&str>, ttl_s: i64) -> String {
    token_signed_with(SECRET, subject, id, ttl_s)
}

/// Returns a token that is signed with another secret.
pub(super) fn forged_token() -> String {
    token_signed_with("another secret of thirty-two bytes", "fred", None, 600)
}

fn token_signed_with(secret: &str, subject: &str, id: Option<&str>, ttl_s: i64) -> String {
    let now_s = SystemClock.now().as_millis() / 1_000;
    let rights = TokenRights { inbox: true, ..TokenRights::default() };
    sign_token(secret, subject, id, now_s - 120..now_s + ttl_s, &rights)
}

/// Authenticates a caller by a token.
pub(super) async fn authenticate(
    authenticator: &Authenticator,
    token: &str,
) -> Result<Arc<Token>, AuthError> {
    match authenticator.authenticate(Some(&Credentials::Token(token)), CLIENT).await? {
        Identity::Token(token) => Ok(token),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_valid_tokens_are_accepted() {
    let test = AuthTest::create(&[]).await;
    let revocations = [TokenRevocation::Token("gone".into())];
    test.load(&[], &revocations).await;
    let authenticator = test.start().await;
    let valid = token("fred", Some("t1"), 600);
    let accepted = authenticate(&authenticator, &valid).await.expect("a valid token");
    assert_eq!(accepted.subject.as_str(), "fred");
    assert!(accepted.rights.inbox);
    for (text, error) in [
        (token("fred", Some("gone"), 600), REVOKED),
        (token("fred", None, -31), EXPIRED),
        (forged_token(), UNKNOWN),
        (format!("a.b.{}", "c".repeat(64 * 1_024)), UNKNOWN),
        ("a.b.c".to_owned(), UNKNOWN),
    ] {
        assert_eq!(authenticate(&authenticator, &text).await.err(), Some(error), "{text}");
        assert!(authenticator.cached(Some(&Credentials::Token(&text))).is_none(), "{text}");
    }
}

#[tokio::test]
async fn revoked_token_is_rejected_within_a_second() {
    let test = AuthTest::create(&[]).await;
    test.load(&[], &[]).await;
    let authenticator = test.start().await;
    let subject = TokenRevocation::Subject {
        subject: "kiran".into(),
        issued_before: SystemClock.now().minus(Duration::from_secs(60)),
    };
    for (text, revocation) in [
        (token("fred", Some("t1"), 600), TokenRevocation::Token("t1".into())),
        (token("kiran", Some("t2"), 600), subject),
    ] {
        let accepted = authenticate(&authenticator, &text).await.expect("a valid token");
        let credentials = Credentials::Token(&text);
        assert!(authenticator.cached(Some(&credentials)).is_some());
        let revoked_at = Instant::now();
        let changed = next_change(&authenticator);
        test.revoke_tokens(&revocation).await;
        changed.await;
        assert!(revoked_at.elapsed() < with_slack(Duration::from_secs(1)));
        assert_eq!(authenticate(&authenticator, &text).await.err(), Some(REVOKED));
        let identity = Identity::Token(accepted);
        let recheck = authenticator.recheck(&credentials.digest(), &identity).await;
        assert_eq!(recheck.err(), Some(REVOKED), "an open connection");
    }
    let other = token("kiran2", Some("t3"), 600);
    let accepted = authenticate(&authenticator, &other).await.expect("another token");
    let digest = Credentials::Token(&other).digest();
    let recheck = authenticator.recheck(&digest, &Identity::Token(accepted)).await;
    assert!(matches!(recheck, Ok(Identity::Token(_))), "{recheck:?}");
}

/// The outcomes are in the order of the credentials.
#[tokio::test]
async fn many_credentials_are_checked_again_together() {
    let test = AuthTest::create(&[]).await;
    test.load(&[], &[TokenRevocation::Token("t1".into())]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    let accepted = authenticate(&authenticator, &valid).await.expect("a valid token");
    let with = |id: &str, expires_at: i64| {
        let token = Token { id: Some(id.into()), expires_at, ..Token::clone(&accepted) };
        Identity::Token(token.into())
    };
    let at = accepted.expires_at;
    let identities = [with("t0", at), with("t1", at), Identity::Open, with("t2", at - 3_600)];
    let digest = Credentials::Token(&valid).digest();
    let credentials: Vec<_> = identities.iter().map(|identity| (&digest, identity)).collect();
    let results = authenticator.recheck_all(&credentials).await;
    let errors: Vec<_> = results.into_iter().map(Result::err).collect();
    assert_eq!(errors, [None, Some(REVOKED), None, Some(EXPIRED)]);
}

#[tokio::test]
async fn change_of_keys_keeps_cached_tokens() {
    let test = AuthTest::create(&[]).await;
    test.load(&[], &[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    authenticate(&authenticator, &valid).await.expect("a valid token");
    let changed = next_change(&authenticator);
    test.put(key("new")).await;
    changed.await;
    assert!(authenticator.cached(Some(&Credentials::Token(&valid))).is_some());
}

#[tokio::test]
async fn key_of_the_form_of_a_token_is_accepted() {
    let test = AuthTest::create(&[]).await;
    test.load(&[key("a.b.c")], &[]).await;
    let authenticator = test.start().await;
    for _ in 0..2 {
        let credentials = Credentials::Token("a.b.c");
        let identity = authenticator.authenticate(Some(&credentials), CLIENT).await;
        assert!(matches!(identity, Ok(Identity::Key(_))), "{identity:?}");
    }
}

#[tokio::test]
async fn expired_token_of_an_open_connection_is_rejected() {
    let test = AuthTest::create(&[]).await;
    test.load(&[], &[]).await;
    let authenticator = test.start().await;
    let valid = token("fred", None, 600);
    let accepted = authenticate(&authenticator, &valid).await.expect("a valid token");
    let expires_at = SystemClock.now().as_millis() / 1_000 - 31;
    let expired = Token { expires_at, ..Token::clone(&accepted) };
    let digest = Credentials::Token(&valid).digest();
    let recheck = authenticator.recheck(&digest, &Identity::Token(expired.into())).await;
    assert_eq!(recheck.err(), Some(EXPIRED));
}
