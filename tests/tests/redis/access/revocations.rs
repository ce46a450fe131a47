//! Token revocations.

use mayfly_core::{Timestamp, TokenRevocation};
use mayfly_hot::{RevocableToken, RevocationState};

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
    let token = RevocableToken { id, subject, issued_at_s };
    let states = test.hot.token_revocations().find(&[token]).await.expect("Redis responds");
    let [state] = states[..] else { panic!("{states:?}") };
    state
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
async fn many_tokens_are_found_with_one_call() {
    let test = TestStore::create().await;
    let revoked: Vec<_> = (0..300).step_by(3).map(|number| format!("t{number}")).collect();
    let rows: Vec<_> = revoked.iter().map(|id| token(id)).collect();
    load(&test, &[rows, vec![subject("kiran", 7_000)]].concat()).await;
    let ids: Vec<_> = (0..300).map(|number| format!("t{number}")).collect();
    let tokens = ids.iter().zip(["fred", "kiran"].into_iter().cycle());
    let tokens = tokens.map(|(id, subject)| RevocableToken {
        id: Some(id.as_str()),
        subject,
        issued_at_s: Some(6),
    });
    let tokens: Vec<_> = tokens.collect();
    let revocations = test.hot.token_revocations();
    let states = revocations.find(&tokens).await.expect("Redis responds");
    assert_eq!(states.len(), 300);
    for (token, state) in tokens.iter().zip(states) {
        let is_revoked = token.subject == "kiran" || revoked.iter().any(|id| token.id == Some(id));
        assert_eq!(state == RevocationState::Revoked, is_revoked, "{token:?}: {state:?}");
    }
    assert!(revocations.find(&[]).await.expect("nothing to find").is_empty());
}

#[tokio::test]
async fn state_is_not_known_before_the_revocations_are_loaded() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::NotLoaded);
    mirror.put(&token("one")).await.expect("Redis responds");
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::Revoked);
    assert_eq!(find(&test, Some("two"), "fred", None).await, RevocationState::NotLoaded);
    load(&test, &[]).await;
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::Valid);
    mirror.unload().await.expect("Redis responds");
    assert_eq!(find(&test, None, "fred", None).await, RevocationState::NotLoaded);
    assert!(!mirror.is_current(1).await.expect("Redis responds"));
}

/// A missing revocation would make a revoked token valid, so a lost hash must not look like an
/// empty table.
#[tokio::test]
async fn lost_hash_is_neither_empty_nor_current() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    for revocations in [&[token("one")][..], &[]] {
        load(&test, revocations).await;
        assert!(mirror.is_current(1).await.expect("Redis responds"));
        test.query::<()>(&["DEL", &test.keys().token_revocations()]).await;
        assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::NotLoaded);
        assert!(!mirror.is_current(1).await.expect("Redis responds"));
        // The hash exists again, with one revocation of many.
        mirror.put(&token("two")).await.expect("Redis responds");
        assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::NotLoaded);
    }
    load(&test, &[token("one")]).await;
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::Revoked);
}

/// A revocation is final, so nothing can make a revoked token valid again.
#[tokio::test]
async fn revocation_is_effective_while_not_loaded_and_not_reduced_by_a_late_write() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    load(&test, &[token("one"), subject("kiran", 7_000)]).await;
    mirror.put(&subject("kiran", 5_000)).await.expect("Redis responds");
    assert_eq!(find(&test, None, "kiran", Some(6)).await, RevocationState::Revoked);
    mirror.put(&subject("kiran", 10_000)).await.expect("Redis responds");
    assert_eq!(find(&test, None, "kiran", Some(9)).await, RevocationState::Revoked);
    // Redis has restarted: its revocations may be outdated.
    test.query::<()>(&["HDEL", &test.keys().token_revocations(), ""]).await;
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::Revoked);
    assert_eq!(find(&test, None, "kiran", Some(9)).await, RevocationState::Revoked);
    assert_eq!(find(&test, None, "kiran", Some(10)).await, RevocationState::NotLoaded);
    assert_eq!(find(&test, None, "fred", Some(6)).await, RevocationState::NotLoaded);
}

#[tokio::test]
async fn new_revocation_is_effective_immediately_and_causes_a_reload() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    load(&test, &[]).await;
    assert!(mirror.is_current(1).await.expect("Redis responds"));
    mirror.put(&subject("kiran", 7_000)).await.expect("Redis responds");
    assert_eq!(find(&test, None, "kiran", Some(6)).await, RevocationState::Revoked);
    assert!(!mirror.is_current(1).await.expect("Redis responds"));
}

/// The reload may have read the revocations from Postgres before the change. It must neither undo
/// the change nor be canceled: a series of revocations would prevent it from ever completing.
#[tokio::test]
async fn revocations_during_a_reload_are_kept_and_do_not_cancel_it() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    let reload = mirror.begin_reload().await.expect("Redis responds").expect("a reload");
    for number in 0..5_i64 {
        mirror.put(&subject("kiran", 7_000)).await.expect("Redis responds");
        mirror.put(&token(&format!("during {number}"))).await.expect("Redis responds");
        let page = [token(&format!("page {number}")), subject("kiran", 1_000)];
        let version = (number == 4).then_some(2);
        assert!(mirror.put_page(&reload, &page, version).await.expect("Redis responds"));
    }
    for id in ["during 0", "during 4", "page 0", "page 4"] {
        assert_eq!(find(&test, Some(id), "fred", None).await, RevocationState::Revoked, "{id}");
    }
    assert_eq!(find(&test, None, "kiran", Some(6)).await, RevocationState::Revoked);
    assert_eq!(find(&test, None, "kiran", Some(7)).await, RevocationState::Valid);
    assert!(!mirror.is_current(2).await.expect("Redis responds"), "another reload follows");
}

/// After a restart, Redis may have rows from before a revocation.
#[tokio::test]
async fn revocations_of_another_run_of_redis_are_not_loaded() {
    let test = TestStore::create().await;
    let mirror = test.hot.token_revocations();
    load(&test, &[token("one")]).await;
    let rows = test.keys().token_revocations();
    let mark: String = test.query(&["HGET", &rows, ""]).await;
    let run_id = test.hot.plays().find_run_id().await.expect("Redis responds");
    let other = "0".repeat(run_id.len());
    test.query::<()>(&["HSET", &rows, "", &mark.replace(&run_id, &other)]).await;
    assert_eq!(find(&test, Some("one"), "fred", None).await, RevocationState::Revoked);
    assert_eq!(find(&test, Some("two"), "fred", None).await, RevocationState::NotLoaded);
    assert!(!mirror.is_current(1).await.expect("Redis responds"));
    let versions = test.hot.read_access_versions().await.expect("Redis responds");
    assert_eq!(versions.revocations, None);
}

#[tokio::test]
async fn overwritten_time_revokes_all_tokens_of_the_subject() {
    let test = TestStore::create().await;
    load(&test, &[subject("kiran", 7_000)]).await;
    test.query::<()>(&["HSET", &test.keys().token_revocations(), "sub:kiran", "x"]).await;
    assert_eq!(find(&test, None, "kiran", Some(9)).await, RevocationState::Revoked);
}
