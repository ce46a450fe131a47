//! API keys.

use std::time::Duration;

use mayfly_auth::Key;
use mayfly_core::{IdGenerator, KeyHash, Timestamp};
use mayfly_hot::{ApiKeyState, MirrorReload};
use serde_json::Value;

use super::{api_key, revoke, supported};
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

async fn is_current(test: &TestStore, version: i64) -> bool {
    test.hot.api_keys().is_current(version).await.expect("Redis responds")
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
    test.hot.api_keys().put_page(reload, &supported(page), version).await.expect("Redis responds")
}

async fn put(test: &TestStore, keys: &[(KeyHash, Key)], removed: &[KeyHash]) {
    test.hot.api_keys().put(&supported(keys), removed).await.expect("Redis responds");
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
    assert!(is_current(&test, 1).await && !is_current(&test, 2).await);
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

/// An unknown key would be rejected permanently, so a lost hash must not look like an empty table.
#[tokio::test]
async fn lost_hash_is_neither_empty_nor_current() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    for keys in [std::slice::from_ref(&loaded), &[]] {
        load(&test, keys).await;
        assert!(is_current(&test, 1).await);
        test.query::<()>(&["DEL", &test.keys().api_keys()]).await;
        assert_eq!(find(&test, "loaded").await, ApiKeyState::NotLoaded);
        assert!(!is_current(&test, 1).await);
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

async fn read_version(test: &TestStore) -> String {
    test.query(&["GET", &test.keys().api_keys_version()]).await
}

#[tokio::test]
async fn changed_key_is_valid_immediately_and_causes_a_reload() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    load(&test, std::slice::from_ref(&loaded)).await;
    let (created, revoked) = (key("created"), revoke(loaded.clone()));
    for changed in [&created, &revoked, &revoked] {
        put(&test, std::slice::from_ref(changed), &[]).await;
    }
    assert_eq!(find(&test, "created").await, found(&created));
    assert_eq!(find(&test, "loaded").await, found(&revoked));
    assert!(!is_current(&test, 1).await);
    let version = read_version(&test).await;
    assert!(version.starts_with("1+") && version.len() == 2 + 32, "{version}");
}

/// The reload may have read the keys from Postgres before the change.
#[tokio::test]
async fn change_during_a_reload_is_kept_and_causes_another_reload() {
    let test = TestStore::create().await;
    let [loaded, rotated, next, late] = ["loaded", "rotated", "next", "late"].map(key);
    let all = [loaded.clone(), rotated.clone(), late.clone()];
    load(&test, &all).await;
    let before = read_version(&test).await;
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &all[..1], None).await);
    put(&test, std::slice::from_ref(&revoke(loaded.clone())), &[]).await;
    put(&test, std::slice::from_ref(&revoke(late.clone())), &[]).await;
    put(&test, std::slice::from_ref(&next), std::slice::from_ref(&rotated.0)).await;
    assert!(put_page(&test, &reload, &all[1..], Some(2)).await, "the reload is not canceled");
    assert_eq!(find(&test, "loaded").await, found(&revoke(loaded)));
    assert_eq!(find(&test, "late").await, found(&revoke(late)));
    assert_eq!(find(&test, "next").await, found(&next));
    let removed = find(&test, "rotated").await;
    assert!(matches!(&removed, ApiKeyState::Found(key) if key.is_revoked), "{removed:?}");
    assert!(!is_current(&test, 2).await);
    let version = read_version(&test).await;
    assert!(version.starts_with("2+") && version != before, "{version}");
    let fields: Vec<String> = test.query(&["HKEYS", &test.keys().api_keys()]).await;
    assert!(!fields.contains(&"+".to_owned()), "{fields:?}");

    load(&test, std::slice::from_ref(&next)).await;
    assert_eq!(read_version(&test).await, "1");
    assert_eq!(find(&test, "rotated").await, ApiKeyState::Unknown);
}

/// A revocation is final, so nothing can make a revoked key valid again.
#[tokio::test]
async fn revoked_key_is_found_while_not_loaded_and_not_replaced_by_a_late_write() {
    let test = TestStore::create().await;
    let [active, revoked] = ["active", "revoked"].map(key);
    load(&test, &[active.clone(), revoked.clone()]).await;
    let reload = begin(&test).await;
    put(&test, &[revoke(revoked.clone())], &[]).await;
    put(&test, &[active.clone(), revoked.clone()], &[]).await;
    assert_eq!(find(&test, "active").await, found(&active));
    assert_eq!(find(&test, "revoked").await, found(&revoke(revoked.clone())));
    // The change is also kept when the reload in progress completes.
    assert!(put_page(&test, &reload, std::slice::from_ref(&active), Some(2)).await);
    assert_eq!(find(&test, "revoked").await, found(&revoke(revoked.clone())));
    // Redis has restarted: its keys may be outdated.
    test.query::<()>(&["HDEL", &test.keys().api_keys(), ""]).await;
    assert_eq!(find(&test, "active").await, ApiKeyState::NotLoaded);
    assert_eq!(find(&test, "revoked").await, found(&revoke(revoked)));
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
    let removed = find(&test, "first").await;
    let ApiKeyState::Found(removed) = removed else { panic!("{removed:?}") };
    assert!(removed.is_revoked && removed.scopes.iter().count() == 0, "{removed:?}");
    assert_eq!(find(&test, "second").await, found(&second));
    assert_eq!(find(&test, "third").await, found(&third));
}

/// Ignored restrictions would grant more than the owner allowed, and a rejection would make the
/// caller discard the key.
#[tokio::test]
async fn unsupported_key_is_not_loaded() {
    let test = TestStore::create().await;
    let (hash, _) = key("later");
    let reload = begin(&test).await;
    let page = [(hash.clone(), None)];
    let loaded = test.hot.api_keys().put_page(&reload, &page, Some(1)).await;
    assert!(loaded.expect("Redis responds"));
    assert_eq!(find(&test, "later").await, ApiKeyState::NotLoaded);
    assert_eq!(find(&test, "other").await, ApiKeyState::Unknown);
    load(&test, &[]).await;
    test.hot.api_keys().put(&page, &[]).await.expect("Redis responds");
    assert_eq!(find(&test, "later").await, ApiKeyState::NotLoaded);
}

/// Returns the mark of the keys: the format, the run ID of Redis, and the token of the reload.
async fn read_mark(test: &TestStore) -> [String; 3] {
    let mark: String = test.query(&["HGET", &test.keys().api_keys(), ""]).await;
    let words: Vec<_> = mark.split(' ').map(str::to_owned).collect();
    words.try_into().expect("three words")
}

async fn write_mark(test: &TestStore, mark: [&str; 3]) {
    test.query::<()>(&["HSET", &test.keys().api_keys(), "", &mark.join(" ")]).await;
}

/// After a restart, Redis may have rows from before a revocation.
#[tokio::test]
async fn keys_of_another_run_of_redis_are_not_loaded() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    load(&test, std::slice::from_ref(&loaded)).await;
    let [format, run_id, token] = read_mark(&test).await;
    assert_eq!(run_id, test.hot.plays().find_run_id().await.expect("Redis responds"));
    let other = "0".repeat(run_id.len());
    let [format, token] = [format.as_str(), token.as_str()];
    for mark in [[format, &other, token], [format, "", token], ["1", &run_id, token]] {
        write_mark(&test, mark).await;
        assert_eq!(find(&test, "loaded").await, ApiKeyState::NotLoaded, "{mark:?}");
        assert_eq!(find(&test, "other").await, ApiKeyState::NotLoaded, "{mark:?}");
        assert!(!is_current(&test, 1).await, "{mark:?}");
        let versions = test.hot.read_access_versions().await.expect("Redis responds");
        assert_eq!(versions.keys, None, "{mark:?}");
    }
    load(&test, std::slice::from_ref(&loaded)).await;
    assert_eq!(find(&test, "loaded").await, found(&loaded));
}

/// The services cannot read each key, but all of them know which keys exist.
#[tokio::test]
async fn later_format_is_not_reloaded() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    load(&test, std::slice::from_ref(&loaded)).await;
    let [_, run_id, token] = read_mark(&test).await;
    write_mark(&test, ["3", &run_id, &token]).await;
    assert!(is_current(&test, 1).await);
    assert_eq!(find(&test, "loaded").await, found(&loaded));
}

#[tokio::test]
async fn keys_are_reloaded_after_an_hour() {
    let test = TestStore::create().await;
    let loaded = key("loaded");
    load(&test, std::slice::from_ref(&loaded)).await;
    let [format, run_id, _] = read_mark(&test).await;
    let version = read_version(&test).await;
    for old in [test.now().await.minus(Duration::from_secs(3_602)), Timestamp::from_millis(0)] {
        let token = IdGenerator::default().next_id(old).to_string();
        write_mark(&test, [&format, &run_id, &token]).await;
        assert!(!is_current(&test, 1).await, "{old}");
        // The keys remain valid until they have been reloaded.
        assert_eq!(find(&test, "loaded").await, found(&loaded), "{old}");
        let versions = test.hot.read_access_versions().await.expect("Redis responds");
        assert_eq!(versions.keys, Some(format!("{version} {token}")), "{old}");
    }
}

/// Redis may have lost some pages when it restarted.
#[tokio::test]
async fn reload_does_not_continue_after_a_restart_of_redis() {
    let test = TestStore::create().await;
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[key("first")], None).await);
    let new_keys = test.keys().new_api_keys();
    let mark: String = test.query(&["HGET", &new_keys, ""]).await;
    let (token, run_id) = mark.split_once(' ').expect("two words");
    let other = "0".repeat(run_id.len());
    test.query::<()>(&["HSET", &new_keys, "", &format!("{token} {other}")]).await;
    assert!(!put_page(&test, &reload, &[key("second")], Some(1)).await);
    assert_eq!(find(&test, "second").await, ApiKeyState::NotLoaded);
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

    // The previous version revokes a key.
    let mut revoked = serde_json::json!({"id": key.id, "hosts": hosts, "revoked": true});
    let field = hash.as_str();
    test.query::<()>(&["HSET", &test.keys().api_keys(), field, &revoked.to_string()]).await;
    test.query::<()>(&["SET", &test.keys().api_keys_version(), "1+"]).await;
    let expected = revoke((hash.clone(), key.clone()));
    assert_eq!(find(&test, "shared").await, found(&expected));
    assert!(!is_current(&test, 1).await);

    // The previous version loads version 2.
    revoked["revoked"] = false.into();
    test.query::<()>(&["HSET", &test.keys().api_keys(), field, &revoked.to_string()]).await;
    test.query::<()>(&["HDEL", &test.keys().api_keys(), ""]).await;
    test.query::<()>(&["SET", &test.keys().api_keys_version(), "2"]).await;
    assert_eq!(find(&test, "shared").await, ApiKeyState::NotLoaded);
    assert!(!is_current(&test, 2).await, "the keys must be loaded in the current format");
    let reload = begin(&test).await;
    assert!(put_page(&test, &reload, &[(hash, key)], Some(2)).await);
    assert!(is_current(&test, 2).await);
}

#[tokio::test]
async fn keys_of_the_wrong_type_are_reloaded() {
    let test = TestStore::create().await;
    let keys = test.keys();
    let active = key("active");
    for overwritten in [keys.api_keys_version(), keys.api_keys()] {
        load(&test, std::slice::from_ref(&active)).await;
        test.overwrite(&overwritten).await;
        test.overwrite(&keys.new_api_keys()).await;
        assert!(!is_current(&test, 1).await, "{overwritten}");
        load(&test, std::slice::from_ref(&active)).await;
        assert!(is_current(&test, 1).await, "{overwritten}");
        assert_eq!(find(&test, "active").await, found(&active), "{overwritten}");
    }
}
