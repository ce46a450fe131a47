//! API keys.

use mayfly_core::{ApiKey, KeyHash};
use mayfly_hot::{ApiKeyReload, ApiKeyState};
use uuid::Uuid;

use crate::{TestStore, host};

fn key(name: &str) -> ApiKey {
    ApiKey {
        hash: KeyHash::from_key(name),
        id: Uuid::now_v7(),
        hosts: vec![host("a.org"), host("b.org")],
        is_revoked: false,
    }
}

async fn find(test: &TestStore, name: &str) -> ApiKeyState {
    test.hot.api_keys().find(&KeyHash::from_key(name)).await.expect("Redis responds")
}

async fn begin(test: &TestStore) -> ApiKeyReload {
    let reload = test.hot.api_keys().begin_reload().await.expect("Redis responds");
    reload.expect("no other process is reloading")
}

async fn put_page(
    test: &TestStore,
    reload: &ApiKeyReload,
    page: &[ApiKey],
    version: Option<i64>,
) -> bool {
    test.hot.api_keys().put_page(reload, page, version).await.expect("Redis responds")
}

fn active() -> ApiKeyState {
    ApiKeyState::Active(vec![host("a.org"), host("b.org")])
}

#[tokio::test]
async fn loaded_keys_are_active_revoked_or_unknown() {
    let test = TestStore::create().await;
    let revoked = ApiKey { is_revoked: true, ..key("revoked") };
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[key("active"), revoked], Some(7)).await);
    assert_eq!(find(&test, "active").await, active());
    assert_eq!(find(&test, "revoked").await, ApiKeyState::Revoked);
    assert_eq!(find(&test, "other").await, ApiKeyState::Unknown);
    assert!(test.hot.api_keys().has_version(7).await.expect("Redis responds"));
    assert!(!test.hot.api_keys().has_version(8).await.expect("Redis responds"));
}

#[tokio::test]
async fn last_page_replaces_all_keys() {
    let test = TestStore::create().await;
    let first = begin(&test).await;
    assert!(put_page(&test, &first, &[key("old"), key("kept")], Some(1)).await);
    let second = begin(&test).await;
    assert!(put_page(&test, &second, &[key("kept")], None).await);
    assert_eq!(find(&test, "old").await, active());
    assert!(put_page(&test, &second, &[key("new")], Some(2)).await);
    assert_eq!(find(&test, "old").await, ApiKeyState::Unknown);
    assert_eq!((find(&test, "kept").await, find(&test, "new").await), (active(), active()));
    let keys: Vec<String> = test.query(&["HKEYS", &test.keys().api_keys()]).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    let ttl: i64 = test.query(&["PTTL", &test.keys().api_keys()]).await;
    assert_eq!(ttl, -1, "the keys do not expire");
}

#[tokio::test]
async fn reload_without_keys_removes_all() {
    let test = TestStore::create().await;
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[key("old")], Some(1)).await);
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[], Some(2)).await);
    assert_eq!(find(&test, "old").await, ApiKeyState::Unknown);
}

#[tokio::test]
async fn keys_are_not_loaded_before_the_last_page() {
    let test = TestStore::create().await;
    assert_eq!(find(&test, "any").await, ApiKeyState::NotLoaded);
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[key("any")], None).await);
    assert_eq!(find(&test, "any").await, ApiKeyState::NotLoaded);
}

#[tokio::test]
async fn only_one_process_reloads_at_a_time() {
    let test = TestStore::create().await;
    let _reload = begin(&test).await;
    let second = test.hot.api_keys().begin_reload().await.expect("Redis responds");
    assert!(second.is_none());
}

#[tokio::test]
async fn reload_that_expired_must_begin_again() {
    let test = TestStore::create().await;
    let expired = begin(&test).await;
    let ttl = test.ttl(&test.keys().new_api_keys()).await;
    assert!(ttl.as_secs() < 4, "{ttl:?}");
    test.query::<()>(&["DEL", &test.keys().new_api_keys()]).await;
    let next = begin(&test).await;
    assert!(!put_page(&test, &expired, &[key("any")], Some(1)).await);
    assert!(put_page(&test, &next, &[key("any")], Some(1)).await);
}

#[tokio::test]
async fn page_extends_the_timeout_of_its_reload() {
    let test = TestStore::create().await;
    let reload = begin(&test).await;
    test.query::<()>(&["PEXPIRE", &test.keys().new_api_keys(), "60000"]).await;
    assert!(put_page(&test, &reload, &[key("any")], None).await);
    let ttl = test.ttl(&test.keys().new_api_keys()).await;
    assert!(ttl.as_secs() < 4, "{ttl:?}");
}

#[tokio::test]
async fn changed_key_is_valid_immediately_and_causes_a_reload() {
    let test = TestStore::create().await;
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[key("loaded")], Some(3)).await);
    let reload = begin(&test).await;
    let revoked = ApiKey { is_revoked: true, ..key("loaded") };
    for changed in [&key("created"), &revoked, &revoked] {
        test.hot.api_keys().put(changed).await.expect("Redis responds");
    }
    assert_eq!(find(&test, "created").await, active());
    assert_eq!(find(&test, "loaded").await, ApiKeyState::Revoked);
    assert!(!test.hot.api_keys().has_version(3).await.expect("Redis responds"));
    let version: String = test.query(&["GET", &test.keys().api_keys_version()]).await;
    assert_eq!(version, "3+");
    // The reload may have read the keys before the change.
    assert!(!put_page(&test, &reload, &[key("loaded")], Some(4)).await);
}

#[tokio::test]
async fn key_of_an_unknown_format_is_not_loaded() {
    let test = TestStore::create().await;
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[], Some(1)).await);
    let hash = KeyHash::from_key("later");
    test.query::<()>(&["HSET", &test.keys().api_keys(), hash.as_str(), r#"{"v":2}"#]).await;
    assert_eq!(find(&test, "later").await, ApiKeyState::NotLoaded);
}

#[tokio::test]
async fn keys_of_the_wrong_type_are_reloaded() {
    let test = TestStore::create().await;
    let keys = test.keys();
    let has_version = async || test.hot.api_keys().has_version(7).await.expect("Redis responds");
    for overwritten in [keys.new_api_keys(), keys.api_keys_version(), keys.api_keys()] {
        test.overwrite(&overwritten).await;
        assert!(!has_version().await, "{overwritten}");
        let reload = begin(&test).await;
        assert!(put_page(&test, &reload, &[key("active")], Some(7)).await);
        assert!(has_version().await, "{overwritten}");
        assert_eq!(find(&test, "active").await, active(), "{overwritten}");
    }
}
