//! Token revocations.

use std::time::Duration;

use mayfly_cold::{ColdStore, RevokedTokens, StoredTokenRevocation};
use mayfly_core::{Timestamp, TokenRevocation, Username};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{api_keys::cold_with_url, health::connect};

const HOUR: Duration = Duration::from_secs(3_600);
/// A machine that is busy delays a test by less than this.
const SLACK: Duration = Duration::from_secs(600);

fn username(text: &str) -> Username {
    Username::parse(text).expect("a username")
}

async fn execute(url: &SecretString, statements: &str) {
    connect(url.expose_secret()).await.batch_execute(statements).await.expect("valid SQL");
}

async fn revoke_token(
    cold: &ColdStore,
    id: &str,
    lifetime: Option<Duration>,
) -> StoredTokenRevocation {
    let revocation = cold.token_revocations().revoke(RevokedTokens::Token(id), lifetime).await;
    revocation.expect("it is stored")
}

async fn revoke_subject(
    cold: &ColdStore,
    subject: &str,
    issued_before: Option<Timestamp>,
    lifetime: Option<Duration>,
) -> StoredTokenRevocation {
    let subject = username(subject);
    let tokens = RevokedTokens::Subject { subject: &subject, issued_before };
    cold.token_revocations().revoke(tokens, lifetime).await.expect("it is stored")
}

async fn list(cold: &ColdStore) -> Vec<StoredTokenRevocation> {
    cold.token_revocations().list(Uuid::nil(), 100).await.expect("the query succeeds")
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_listed_in_creation_order() {
    let (cold, _) = cold_with_url("revocations_listed").await;
    let one = revoke_token(&cold, "one", None).await;
    let kiran = revoke_subject(&cold, "kiran", None, Some(HOUR)).await;
    assert_eq!(list(&cold).await, [one.clone(), kiran.clone()]);
    let rest = cold.token_revocations().list(one.id, 100).await.expect("the query succeeds");
    assert_eq!(rest, std::slice::from_ref(&kiran));
    assert_eq!((one.revocation, one.expires_at), (TokenRevocation::Token("one".into()), None));

    let TokenRevocation::Subject { subject, issued_before } = &kiran.revocation else {
        panic!("{kiran:?}")
    };
    assert_eq!(subject, "kiran");
    let age = issued_before.since(kiran.created_at);
    assert!(*issued_before >= kiran.created_at && age < SLACK, "{age:?}");
    let lifetime = kiran.expires_at.expect("it expires").since(*issued_before);
    assert!(lifetime > HOUR && lifetime < HOUR + SLACK, "{lifetime:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_revocation_extends_the_first_one_and_never_shortens_it() {
    let (cold, _) = cold_with_url("revocations_repeated").await;
    let late = Timestamp::from_millis(4_000_000_000_000);
    let first = revoke_subject(&cold, "kiran", Some(late), Some(2 * HOUR)).await;
    let early = Timestamp::from_millis(1_000);
    let second = revoke_subject(&cold, "kiran", Some(early), Some(HOUR)).await;
    assert_eq!(second, first);
    let later = late.plus(HOUR);
    let third = revoke_subject(&cold, "kiran", Some(later), None).await;
    let revocation = TokenRevocation::Subject { subject: "kiran".into(), issued_before: later };
    assert_eq!((third.id, &third.revocation, third.expires_at), (first.id, &revocation, None));
    let fourth = revoke_subject(&cold, "kiran", Some(later), Some(HOUR)).await;
    assert_eq!(fourth, third, "an unlimited revocation stays unlimited");
    assert_eq!(list(&cold).await, [third]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_revocation_is_not_listed_and_is_deleted_by_the_next_one() {
    let (cold, url) = cold_with_url("revocations_expired").await;
    revoke_token(&cold, "expired", Some(HOUR)).await;
    execute(&url, "UPDATE token_revocations SET expires_at = now() - interval '1 second'").await;
    assert_eq!(list(&cold).await, []);
    let other = revoke_token(&cold, "other", None).await;
    let client = connect(url.expose_secret()).await;
    let row = client.query_one("SELECT count(*) FROM token_revocations", &[]).await;
    assert_eq!(row.expect("valid SQL").get::<_, i64>(0), 1);
    let again = revoke_token(&cold, "expired", None).await;
    assert_eq!(list(&cold).await, [other, again]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_increases_the_version() {
    let (cold, url) = cold_with_url("revocations_version").await;
    let version = async || cold.token_revocations().find_version().await.expect("a version");
    let before = version().await;
    revoke_token(&cold, "one", None).await;
    let created = version().await;
    execute(&url, "DELETE FROM token_revocations").await;
    let deleted = version().await;
    assert!(before < created && created < deleted, "{before} {created} {deleted}");
    list(&cold).await;
    assert_eq!(version().await, deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_revocations_is_limited() {
    let (cold, url) = cold_with_url("revocations_max").await;
    execute(
        &url,
        "INSERT INTO token_revocations (id, token_id) \
         SELECT gen_random_uuid(), number::text FROM generate_series(1, 100000) AS number",
    )
    .await;
    let tokens = RevokedTokens::Token("one more");
    let refused = cold.token_revocations().revoke(tokens, None).await.expect_err("too many");
    let text = refused.to_string();
    assert!(text.contains("there are 100000 token revocations already"), "{text}");
    // A revocation that exists can still be extended.
    revoke_token(&cold, "7", None).await;
}

/// An empty ID would match every token without an ID.
#[tokio::test(flavor = "multi_thread")]
async fn empty_names_are_rejected() {
    let (cold, url) = cold_with_url("revocations_empty").await;
    let tokens = RevokedTokens::Token("");
    cold.token_revocations().revoke(tokens, None).await.expect_err("an empty ID");
    let insert = "INSERT INTO token_revocations (id, subject, issued_before) \
         VALUES (gen_random_uuid(), '', now())";
    let client = connect(url.expose_secret()).await;
    client.batch_execute(insert).await.expect_err("an empty subject");
    assert_eq!(list(&cold).await, []);
}
