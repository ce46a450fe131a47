//! API keys.

use mayfly_auth::Key;
use mayfly_core::KeyHash;
use mayfly_hot::{ApiKeyState, MirrorReload};
use serde_json::Value;

use super::{api_key, revoke};
use crate::TestStore;

fn key(text: &str) -> (KeyHash, Key) {
    api_key(text, &["a.org", "b.org"])
}

async fn find(test: &TestStore, key: &str) -> ApiKeyState {
    test.hot.api_keys().find(&KeyHash::from_key(key)).await.expect("Redis responds")
}

fn found((_, key): &(KeyHash, Key)) -> ApiKeyState {
    ApiKeyState::Found(key.clone())
}

async fn has_version(test: &TestStore, version: i64) -> bool {
    test.hot.api_keys().has_version(version).await.expect("Redis responds")
}

async fn begin(test: &TestStore) -> MirrorReload {
    let reload = test.hot.api_keys().begin_reload().await.expect("Redis responds");
    reload.expect("no other process is reloading")
}

async fn put_page(
    test: &TestStore,
    reload: &MirrorReload,
    page: &[(KeyHash, Key)],
    version: Option<i64>,
) -> bool {
    test.hot.api_keys().put_page(reload, page, version).await.expect("Redis responds")
}

async fn put(test: &TestStore, keys: &[(KeyHash, Key)], removed: &[KeyHash]) {
    test.hot.api_keys().put(keys, removed).await.expect("Redis responds");
}

/// Loads keys as their version 1.
async fn load(test: &TestStore, keys: &[(KeyHash, Key)]) {
    let reload = begin(test).await;
    assert!(put_page(test, &reload, keys, Some(1)).await);
}

#[tokio::test]
async fn loaded_keys_are_found_with_their_rights() {
    let test = TestStore::create().await;
    let (active, revoked) = (key("active"), revoke(key("revoked")));
    load(&test, &[active.clone(), revoked.clone()]).await;
    assert_eq!(find(&test, "active").await, found(&active));
    assert_eq!(find(&test, "revoked").await, found(&revoked));
    assert_eq!(find(&test, "other").await, ApiKeyState::Unknown);
    assert!(has_version(&test, 1).await && !has_version(&test, 2).await);
}

#[tokio::test]
async fn last_page_replaces_all_keys() {
    let test = TestStore::create().await;
    let [old, kept, new] = ["old", "kept", "new"].map(key);
    load(&test, &[old.clone(), kept.clone()]).await;
    let second = begin(&test).await;
    assert!(put_page(&test, &second, std::slice::from_ref(&kept), None).await);
    assert_eq!(find(&test, "old").await, found(&old));
    assert!(put_page(&test, &second, std::slice::from_ref(&new), Some(2)).await);
    assert_eq!(find(&test, "old").await, ApiKeyState::Unknown);
    assert_eq!((find(&test, "kept").await, find(&test, "new").await), (found(&kept), found(&new)));
    let mut fields: Vec<String> = test.query(&["HKEYS", &test.keys().api_keys()]).await;
    fields.sort();
    let mut expected = [String::new(), kept.0.to_string(), new.0.to_string()];
    expected.sort();
    assert_eq!(fields, expected, "the field with the empty name marks the hash as complete");
    let ttl: i64 = test.query(&["PTTL", &test.keys().api_keys()]).await;
    assert_eq!(ttl, -1, "the keys do not expire");
}

#[tokio::test]
async fn reload_without_keys_removes_all() {
    let test = TestStore::create().await;
    load(&test, &[key("old")]).await;
    load(&test, &[]).await;
    assert_eq!(find(&test, "old").await, ApiKeyState::Unknown);
}

/// An unknown key would be rejected for good, so a lost hash must not look like an empty table.
#[tokio::test]
async fn lost_hash_is_neither_empty_nor_current() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    for keys in [std::slice::from_ref(&loaded), &[]] {
        load(&test, keys).await;
        assert!(has_version(&test, 1).await);
        test.query::<()>(&["DEL", &test.keys().api_keys()]).await;
        assert_eq!(find(&test, "loaded").await, ApiKeyState::NotLoaded);
        assert!(!has_version(&test, 1).await);
        // The hash exists again, with one key of many.
        put(&test, &[key("created")], &[]).await;
        assert_eq!(find(&test, "loaded").await, ApiKeyState::NotLoaded);
    }
    load(&test, std::slice::from_ref(&loaded)).await;
    assert_eq!(find(&test, "loaded").await, found(&loaded));
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
    let loaded = key("loaded");
    load(&test, std::slice::from_ref(&loaded)).await;
    let reload = begin(&test).await;
    let (created, revoked) = (key("created"), revoke(loaded.clone()));
    for changed in [&created, &revoked, &revoked] {
        put(&test, std::slice::from_ref(changed), &[]).await;
    }
    assert_eq!(find(&test, "created").await, found(&created));
    assert_eq!(find(&test, "loaded").await, found(&revoked));
    assert!(!has_version(&test, 1).await);
    let version: String = test.query(&["GET", &test.keys().api_keys_version()]).await;
    assert!(version.starts_with("1+") && version.len() == 2 + 32, "{version}");
    // The reload may have read the keys before the change.
    assert!(!put_page(&test, &reload, &[loaded], Some(4)).await);
}

#[tokio::test]
async fn rotated_key_has_both_digests_and_loses_older_ones() {
    let test = TestStore::create().await;
    let [first, second, third] = ["first", "second", "third"].map(key);
    load(&test, std::slice::from_ref(&first)).await;
    put(&test, &[second.clone(), first.clone()], &[]).await;
    assert_eq!(find(&test, "first").await, found(&first));
    assert_eq!(find(&test, "second").await, found(&second));
    put(&test, &[third.clone(), second.clone()], &[first.0]).await;
    assert_eq!(find(&test, "first").await, ApiKeyState::Unknown);
    assert_eq!(find(&test, "second").await, found(&second));
    assert_eq!(find(&test, "third").await, found(&third));
}

#[tokio::test]
async fn key_of_an_unknown_format_is_not_loaded() {
    let test = TestStore::create().await;
    load(&test, &[]).await;
    let hash = KeyHash::from_key("later");
    test.query::<()>(&["HSET", &test.keys().api_keys(), hash.as_str(), r#"{"v":2}"#]).await;
    assert_eq!(find(&test, "later").await, ApiKeyState::NotLoaded);
}

/// Processes of the previous version read the keys and reload them, too.
#[tokio::test]
async fn previous_version_reads_and_writes_the_same_keys() {
    let test = TestStore::create().await;
    let (hash, key) = key("shared");
    load(&test, &[(hash.clone(), key.clone())]).await;
    let json: String = test.query(&["HGET", &test.keys().api_keys(), hash.as_str()]).await;
    let json: Value = serde_json::from_str(&json).expect("valid JSON");
    let hosts = serde_json::json!(["a.org", "b.org"]);
    assert_eq!((&json["id"], &json["hosts"]), (&serde_json::json!(key.id), &hosts));
    assert_eq!(json["revoked"], false);

    // The previous version loads version 2.
    let previous = serde_json::json!({"id": key.id, "hosts": hosts, "revoked": false}).to_string();
    test.query::<()>(&["HSET", &test.keys().api_keys(), hash.as_str(), &previous]).await;
    test.query::<()>(&["SET", &test.keys().api_keys_version(), "2"]).await;
    assert_eq!(find(&test, "shared").await, ApiKeyState::Found(key.clone()));
    assert!(!has_version(&test, 2).await, "the keys must be loaded in the current format");
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[(hash, key)], Some(2)).await);
    assert!(has_version(&test, 2).await);
}

#[tokio::test]
async fn keys_of_the_wrong_type_are_reloaded() {
    let test = TestStore::create().await;
    let keys = test.keys();
    let active = key("active");
    for overwritten in
        [keys.new_api_keys(), keys.api_keys_version(), keys.api_keys_format(), keys.api_keys()]
    {
        test.overwrite(&overwritten).await;
        assert!(!has_version(&test, 1).await, "{overwritten}");
        load(&test, std::slice::from_ref(&active)).await;
        assert!(has_version(&test, 1).await, "{overwritten}");
        assert_eq!(find(&test, "active").await, found(&active), "{overwritten}");
    }
}
