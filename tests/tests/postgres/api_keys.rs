//! API keys.

use std::time::Duration;

use mayfly_cold::{ColdStore, NewApiKey, Revocation, StoredApiKey};
use mayfly_core::{Host, KeyHash, limits};
use mayfly_runtime::settings::PostgresSettings;
use uuid::Uuid;

use crate::create_migrated_database;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Creates an empty store with a database of its own.
pub(crate) async fn cold(name: &str) -> ColdStore {
    let url = create_migrated_database(name).await;
    ColdStore::new(&PostgresSettings { url, pool_size_max: 8, timeout: TIMEOUT })
}

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}

fn key(key: &str, hosts: &[&str]) -> NewApiKey {
    NewApiKey {
        id: Uuid::now_v7(),
        hash: KeyHash::from_key(key),
        name: format!("the key {key}"),
        start: key.chars().take(8).collect(),
        hosts: hosts.iter().map(|name| host(name)).collect(),
    }
}

async fn list(cold: &ColdStore) -> Vec<StoredApiKey> {
    cold.api_keys().list(Uuid::nil(), 100).await.expect("the query succeeds")
}

async fn revoke(cold: &ColdStore, which: &str) -> Revocation {
    cold.api_keys().revoke(which).await.expect("the query succeeds")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_in_creation_order() {
    let cold = cold("keys_listed").await;
    let keys = [key("mf_first", &["b.org", "a.org"]), key("mf_second", &["a.org"])];
    for key in &keys {
        assert_eq!(cold.api_keys().create(key).await.expect("it is stored"), key.id);
    }
    let listed = list(&cold).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].key.hosts, [host("a.org"), host("b.org")]);
    for (listed, key) in listed.iter().zip(&keys) {
        assert_eq!((&listed.key.hash, &listed.key.id), (&key.hash, &key.id));
        assert_eq!((&listed.name, &listed.start), (&key.name, &key.start));
        assert!(!listed.key.is_revoked && listed.revoked_at.is_none());
    }
    assert_eq!(
        cold.api_keys().list(keys[0].id, 100).await.expect("the query succeeds"),
        listed[1..]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changes_increase_the_version() {
    let cold = cold("keys_version").await;
    let mut last = cold.api_keys().find_version().await.expect("a version");
    let mut has_changed = async || {
        let version = cold.api_keys().find_version().await.expect("a version");
        let has_changed = version > last;
        last = version;
        has_changed
    };
    assert!(!has_changed().await);
    cold.api_keys().create(&key("mf_first", &["a.org"])).await.expect("it is stored");
    assert!(has_changed().await);
    cold.api_keys().create(&key("mf_first", &["b.org"])).await.expect("the key is registered");
    assert!(has_changed().await);
    cold.api_keys().create(&key("mf_first", &["b.org", "a.org"])).await.expect("the key exists");
    assert!(!has_changed().await);
    revoke(&cold, "mf_first").await;
    assert!(has_changed().await);
    cold.samples().store(&[], TIMEOUT).await.expect("nothing is stored");
    assert!(!has_changed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_revoked_by_id_prefix_or_value() {
    let cold = cold("keys_revoked").await;
    for name in ["mf_aaaaa1", "mf_bbbbb1", "mf_bbbbb2", "mf_ccccc1"] {
        cold.api_keys().create(&key(name, &["a.org"])).await.expect("it is stored");
    }
    assert_eq!(revoke(&cold, "mf_zzzzz").await, Revocation::NotFound);
    assert_eq!(revoke(&cold, &Uuid::now_v7().to_string()).await, Revocation::NotFound);
    let Revocation::Ambiguous(several) = revoke(&cold, "mf_bbbbb").await else {
        panic!("two keys match");
    };
    assert!(several.len() == 2 && several.iter().all(|key| !key.key.is_revoked));
    for which in ["mf_aaaaa", "mf_ccccc1", &several[1].key.id.to_string()] {
        let Revocation::Revoked(first) = revoke(&cold, which).await else { panic!("{which}") };
        assert!(first.key.is_revoked, "{which}");
        // Idempotent: the first revocation time is retained.
        assert_eq!(revoke(&cold, which).await, Revocation::Revoked(first), "{which}");
    }
    let active: Vec<_> = list(&cold).await.into_iter().filter(|key| !key.key.is_revoked).collect();
    assert_eq!(active, several[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_registrations_create_one_key() {
    let cold = cold("keys_registered").await;
    let calls: Vec<_> = (0..16)
        .map(|number| {
            let cold = cold.clone();
            tokio::spawn(async move {
                let hash = KeyHash::from_key(if number % 2 == 0 { "one" } else { "other" });
                let host = host(if number % 4 < 2 { "a.org" } else { "b.org" });
                cold.api_keys()
                    .register_source_key(&hash, "\x1b[2Jabcdefg\0", &host)
                    .await
                    .expect("the key is registered");
            })
        })
        .collect();
    for call in calls {
        call.await.expect("it does not panic");
    }
    let listed = list(&cold).await;
    assert_eq!(listed.len(), 2);
    for key in listed {
        assert_eq!(key.key.hosts, [host("a.org"), host("b.org")]);
        assert_eq!(key.start, "?[2Jabcd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_does_not_reactivate_a_revoked_key() {
    let cold = cold("keys_stay_revoked").await;
    let hash = KeyHash::from_key("theirs");
    cold.api_keys()
        .register_source_key(&hash, "theirs", &host("a.org"))
        .await
        .expect("the key is registered");
    assert!(matches!(revoke(&cold, "theirs").await, Revocation::Revoked(_)));
    let before = list(&cold).await;
    cold.api_keys()
        .register_source_key(&hash, "theirs", &host("a.org"))
        .await
        .expect("nothing happens");
    cold.api_keys()
        .register_source_key(&hash, "theirs", &host("b.org"))
        .await
        .expect("nothing happens");
    assert_eq!(list(&cold).await, before);
    assert!(before[0].key.is_revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_a_key_are_limited() {
    let cold = cold("keys_hosts_max").await;
    let names: Vec<_> =
        (0..=limits::API_KEY_HOSTS_MAX).map(|number| format!("h{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let refused = cold.api_keys().create(&key("mf_many", &names)).await;
    assert!(refused.expect_err("too many").to_string().contains("a key opens at most 1000 hosts"));
    assert_eq!(list(&cold).await, []);
    cold.api_keys()
        .create(&key("mf_many", &names[1..]))
        .await
        .expect("the number is within the limit");
    assert_eq!(list(&cold).await[0].key.hosts.len(), limits::API_KEY_HOSTS_MAX);
}
