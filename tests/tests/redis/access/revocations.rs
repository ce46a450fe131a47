//! Token revocations.

use mayfly_core::{Timestamp, TokenRevocation};
use mayfly_hot::RevocationState;

use crate::TestStore;

fn token(id: &str) -> TokenRevocation {
    TokenRevocation::Token(id.to_owned())
}

fn subject(subject: &str, issued_before_ms: i64) -> TokenRevocation {
    let issued_before = Timestamp::from_millis(issued_before_ms);
    TokenRevocation::Subject { subject: subject.to_owned(), issued_before }
}

/// Returns the state of a token.
async fn find(
    test: &TestStore,
    id: Option<&str>,
    subject: &str,
    issued_at_s: Option<i64>,
) -> RevocationState {
    let state = test.hot.token_revocations().find(id, subject, issued_at_s).await;
    state.expect("Redis responds")
}

/// Loads revocations as their version 1.
async fn load(test: &TestStore, revocations: &[TokenRevocation]) {
    let mirror = test.hot.token_revocations();
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    assert!(mirror.put_page(&reload, revocations, Some(1)).await.expect("Redis responds"));
}

#[tokio::test]
async fn token_is_revoked_by_its_id_or_by_its_subject() {
    let test = TestStore::create().await;
    load(&test, &[token("one"), subject("kiran", 7_000)]).await;
    for (id, subject, issued_at_s) in [
        (Some("one"), "fred", Some(9)),
        (Some("two"), "kiran", Some(6)),
        (None, "kiran", Some(6)),
        (None, "kiran", None),
    ] {
        let state = find(&test, id, subject, issued_at_s).await;
        assert_eq!(state, RevocationState::Revoked, "{id:?} {subject} {issued_at_s:?}");
    }
    for (id, subject, issued_at_s) in [
        (Some("two"), "fred", Some(6)),
        (Some("two"), "kiran", Some(7)),
        (None, "one", None),
        (Some("kiran"), "", Some(6)),
        (Some(""), "fred", Some(6)),
    ] {
        let state = find(&test, id, subject, issued_at_s).await;
        assert_eq!(state, RevocationState::Valid, "{id:?} {subject} {issued_at_s:?}");
    }
}

#[tokio::test]
async fn state_is_not_known_before_the_revocations_are_loaded() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::NotLoaded);
    mirror.put(&token("one")).await.expect("Redis responds");
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::NotLoaded);
    load(&test, &[]).await;
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::Valid);
    mirror.unload().await.expect("Redis responds");
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::NotLoaded);
    assert!(!mirror.has_version(1).await.expect("Redis responds"));
}

/// A missing revocation would make a revoked token valid, so a lost hash must not look like an
/// empty table.
#[tokio::test]
async fn lost_hash_is_neither_empty_nor_current() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    for revocations in [&[token("one")][..], &[]] {
        load(&test, revocations).await;
        assert!(mirror.has_version(1).await.expect("Redis responds"));
        test.query::<()>(&["DEL", &test.keys().token_revocations()]).await;
        assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::NotLoaded);
        assert!(!mirror.has_version(1).await.expect("Redis responds"));
        // The hash exists again, with one revocation of many.
        mirror.put(&token("two")).await.expect("Redis responds");
        assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::NotLoaded);
    }
    load(&test, &[token("one")]).await;
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::Revoked);
}

#[tokio::test]
async fn new_revocation_is_effective_immediately_and_causes_a_reload() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    load(&test, &[]).await;
    assert!(mirror.has_version(1).await.expect("Redis responds"));
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    mirror.put(&subject("kiran", 7_000)).await.expect("Redis responds");
    assert_eq!(find(&test, None, "kiran", Some(6)).await, RevocationState::Revoked);
    assert!(!mirror.has_version(1).await.expect("Redis responds"));
    // The reload may have read the revocations before the change.
    assert!(!mirror.put_page(&reload, &[], Some(2)).await.expect("Redis responds"));
}

#[tokio::test]
async fn overwritten_time_revokes_all_tokens_of_the_subject() {
    let test = TestStore::create().await;
    load(&test, &[subject("kiran", 7_000)]).await;
    test.query::<()>(&["HSET", &test.keys().token_revocations(), "sub:kiran", "x"]).await;
    assert_eq!(find(&test, None, "kiran", Some(9)).await, RevocationState::Revoked);
}
