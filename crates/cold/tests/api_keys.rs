//! API keys, on a real Postgres.

use std::time::Duration;

use mayfly_cold::{ApiKeyRow, Cold, NewApiKey, Revocation, migrations};
use mayfly_core::{Host, KeyHash, limits};
use mayfly_runtime::settings::Postgres;
use mayfly_stack::SharedServers;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(20);

async fn cold(name: &str) -> Cold {
    let servers = SharedServers::get().await.expect("the servers start");
    let url = servers.create_database(name).await.expect("a database can be made").into();
    migrations::run(&url, |_| {}).await.expect("they go up");
    Cold::new(&Postgres { url, pool_size_max: 8, timeout: TIMEOUT })
}

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}

fn key(key: &str, hosts: &[&str]) -> NewApiKey {
    NewApiKey {
        id: Uuid::now_v7(),
        hash: KeyHash::of(key),
        name: format!("the key {key}"),
        start: key.chars().take(8).collect(),
        hosts: hosts.iter().map(|name| host(name)).collect(),
    }
}

async fn list(cold: &Cold) -> Vec<ApiKeyRow> {
    cold.list_api_keys(Uuid::nil(), 100).await.expect("a list")
}

async fn revoke(cold: &Cold, which: &str) -> Revocation {
    cold.revoke_api_key(which).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_as_they_were_made() {
    let cold = cold("keys_listed").await;
    let keys = [key("mf_first", &["b.org", "a.org"]), key("mf_second", &["a.org"])];
    for key in &keys {
        assert_eq!(cold.create_api_key(key).await.expect("it is stored"), key.id);
    }
    let listed = list(&cold).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].known.hosts, [host("a.org"), host("b.org")]);
    for (listed, key) in listed.iter().zip(&keys) {
        assert_eq!((&listed.known.hash, &listed.known.id), (&key.hash, &key.id));
        assert_eq!((&listed.name, &listed.start), (&key.name, &key.start));
        assert!(!listed.known.is_revoked && listed.revoked_at.is_none());
    }
    assert_eq!(cold.list_api_keys(keys[0].id, 100).await.expect("a list"), listed[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_raises_the_version_and_nothing_else_does() {
    let cold = cold("keys_version").await;
    let mut last = cold.api_keys_version().await.expect("a version");
    let mut has_changed = async || {
        let version = cold.api_keys_version().await.expect("a version");
        let has_changed = version > last;
        last = version;
        has_changed
    };
    assert!(!has_changed().await);
    cold.create_api_key(&key("mf_first", &["a.org"])).await.expect("it is stored");
    assert!(has_changed().await);
    cold.create_api_key(&key("mf_first", &["b.org"])).await.expect("it is related");
    assert!(has_changed().await);
    cold.create_api_key(&key("mf_first", &["b.org", "a.org"])).await.expect("it is known");
    assert!(!has_changed().await);
    revoke(&cold, "mf_first").await;
    assert!(has_changed().await);
    cold.store_samples(&[], TIMEOUT).await.expect("nothing is stored");
    assert!(!has_changed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_by_its_id_its_beginning_or_itself() {
    let cold = cold("keys_revoked").await;
    for name in ["mf_aaaaa1", "mf_bbbbb1", "mf_bbbbb2", "mf_ccccc1"] {
        cold.create_api_key(&key(name, &["a.org"])).await.expect("it is stored");
    }
    assert_eq!(revoke(&cold, "mf_zzzzz").await, Revocation::Unknown);
    assert_eq!(revoke(&cold, &Uuid::now_v7().to_string()).await, Revocation::Unknown);
    let Revocation::Several(several) = revoke(&cold, "mf_bbbbb").await else {
        panic!("two begin so");
    };
    assert!(several.len() == 2 && several.iter().all(|key| !key.known.is_revoked));
    for which in ["mf_aaaaa", "mf_ccccc1", &several[1].known.id.to_string()] {
        let Revocation::Revoked(first) = revoke(&cold, which).await else { panic!("{which}") };
        assert!(first.known.is_revoked, "{which}");
        // Twice is once: the first moment stays.
        assert_eq!(revoke(&cold, which).await, Revocation::Revoked(first), "{which}");
    }
    let good: Vec<_> = list(&cold).await.into_iter().filter(|key| !key.known.is_revoked).collect();
    assert_eq!(good, several[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_source_is_related_once_however_many_say_so() {
    let cold = cold("keys_related").await;
    let calls: Vec<_> = (0..16)
        .map(|number| {
            let cold = cold.clone();
            tokio::spawn(async move {
                let hash = KeyHash::of(if number % 2 == 0 { "one" } else { "other" });
                let host = host(if number % 4 < 2 { "a.org" } else { "b.org" });
                cold.relate_source_key(&hash, "\x1b[2Jabcdefg\0", &host).await.expect("related");
            })
        })
        .collect();
    for call in calls {
        call.await.expect("it does not panic");
    }
    let listed = list(&cold).await;
    assert_eq!(listed.len(), 2);
    for key in listed {
        assert_eq!(key.known.hosts, [host("a.org"), host("b.org")]);
        assert_eq!(key.start, "?[2Jabcd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_of_the_source_stays_revoked() {
    let cold = cold("keys_stay_revoked").await;
    let hash = KeyHash::of("theirs");
    cold.relate_source_key(&hash, "theirs", &host("a.org")).await.expect("it is related");
    assert!(matches!(revoke(&cold, "theirs").await, Revocation::Revoked(_)));
    let before = list(&cold).await;
    cold.relate_source_key(&hash, "theirs", &host("a.org")).await.expect("nothing happens");
    cold.relate_source_key(&hash, "theirs", &host("b.org")).await.expect("nothing happens");
    assert_eq!(list(&cold).await, before);
    assert!(before[0].known.is_revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_so_many_hosts_and_no_more() {
    let cold = cold("keys_hosts_max").await;
    let names: Vec<_> =
        (0..=limits::API_KEY_HOSTS_MAX).map(|number| format!("h{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let refused = cold.create_api_key(&key("mf_many", &names)).await;
    assert!(refused.expect_err("too many").to_string().contains("a key opens at most 1000 hosts"));
    assert_eq!(list(&cold).await, []);
    cold.create_api_key(&key("mf_many", &names[1..])).await.expect("as many as may be");
    assert_eq!(list(&cold).await[0].known.hosts.len(), limits::API_KEY_HOSTS_MAX);
}
