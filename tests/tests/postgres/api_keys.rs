//! API keys.

use std::time::Duration;

use mayfly_auth::{Key, KeyId, KeyLimits, Names, RateText, Scope, Scopes};
use mayfly_cold::{ApiKeyLookup, ColdStore, NewApiKey, NewSecret, Rotation, StoredApiKey};
use mayfly_core::{Host, KeyHash, limits};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{create_migrated_database, health::connect};

const TIMEOUT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

/// Creates an empty store with a database of its own.
pub(crate) async fn cold(name: &str) -> ColdStore {
    cold_with_url(name).await.0
}

/// Creates the same, and returns the URL of its database.
pub(crate) async fn cold_with_url(name: &str) -> (ColdStore, SecretString) {
    let url = create_migrated_database(name).await;
    let settings = PostgresSettings { url: url.clone(), pool_size_max: 8, timeout: TIMEOUT };
    (ColdStore::new(&settings), url)
}

/// Executes statements that an operator or the previous version might execute.
async fn execute(url: &SecretString, statements: &str) {
    connect(url.expose_secret()).await.batch_execute(statements).await.expect("valid SQL");
}

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}

fn names(patterns: &[&str]) -> Names {
    Names::parse_key_hosts(patterns.iter().copied()).expect("patterns")
}

/// Returns the public part of a key: its name, padded.
fn key_id(name: &str) -> KeyId {
    KeyId::parse(format!("{name:0<12}")).expect("an ID")
}

/// Returns a key whose text is its name.
fn key(name: &str, hosts: &[&str]) -> NewApiKey {
    NewApiKey {
        id: Uuid::now_v7(),
        key_id: key_id(name),
        hash: KeyHash::from_key(name),
        name: format!("the key {name}"),
        scopes: Scopes::from_iter([Scope::Read]),
        channels: Names::All,
        usernames: Names::All,
        hosts: names(hosts),
        limits: KeyLimits::default(),
        lifetime: None,
    }
}

fn secret(name: &str, overlap: Duration) -> NewSecret {
    NewSecret { key_id: key_id(name), hash: KeyHash::from_key(name), overlap, lifetime: None }
}

async fn create(cold: &ColdStore, key: &NewApiKey) -> StoredApiKey {
    cold.api_keys().create(key).await.expect("it is stored")
}

async fn list(cold: &ColdStore) -> Vec<StoredApiKey> {
    cold.api_keys().list(Uuid::nil(), 100).await.expect("the query succeeds")
}

async fn find(cold: &ColdStore, which: &str) -> ApiKeyLookup<StoredApiKey> {
    cold.api_keys().find(which).await.expect("the query succeeds")
}

async fn revoke(cold: &ColdStore, which: &str) -> ApiKeyLookup<StoredApiKey> {
    cold.api_keys().revoke(which).await.expect("the query succeeds")
}

async fn rotate(cold: &ColdStore, which: &str, new: &NewSecret) -> Rotation {
    let rotation = cold.api_keys().rotate(which, new).await.expect("the query succeeds");
    let ApiKeyLookup::Found(rotation) = rotation else { panic!("{rotation:?}") };
    *rotation
}

async fn register(cold: &ColdStore, key: &str, start: &str, name: &str) {
    let (hash, host) = (KeyHash::from_key(key), host(name));
    cold.api_keys().register_source_key(&hash, start, &host).await.expect("it is registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_in_creation_order() {
    let cold = cold("keys_listed").await;
    let keys = [key("first", &["b.org", "a.org"]), key("second", &["a.org"])];
    let mut created = Vec::new();
    for key in &keys {
        created.push(create(&cold, key).await);
    }
    let listed = list(&cold).await;
    assert_eq!(listed, created);
    for (listed, key) in listed.iter().zip(&keys) {
        assert_eq!((&listed.hash, &listed.key.id), (&key.hash, &key.id));
        assert_eq!((&listed.name, &listed.key_id), (&key.name, &Some(key.key_id.clone())));
        assert_eq!(listed.start, format!("mf_{}", key.key_id));
        assert!(!listed.key.is_revoked && listed.revoked_at.is_none() && !listed.is_expired);
    }
    assert_eq!(
        cold.api_keys().list(keys[0].id, 100).await.expect("the query succeeds"),
        listed[1..]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_limits_are_stored() {
    let cold = cold("keys_rights").await;
    let new = NewApiKey {
        scopes: Scopes::from_iter([Scope::Publish, Scope::Take]),
        channels: names(&["chat.*"]),
        usernames: Names::none(),
        hosts: names(&["*.b.org", "a.org"]),
        limits: KeyLimits {
            messages: RateText::parse("100/day").ok(),
            plays: RateText::parse("4294967/second").ok(),
            visits: None,
        },
        lifetime: Some(HOUR),
        ..key("limited", &[])
    };
    let stored = create(&cold, &new).await;
    assert_eq!((stored.key.scopes, &stored.key.channels), (new.scopes, &new.channels));
    assert_eq!((&stored.key.usernames, &stored.key.hosts), (&new.usernames, &new.hosts));
    assert_eq!(stored.key.limits, new.limits);
    let lifetime = stored.key.expires_at.expect("it expires").since(stored.created_at);
    assert!(lifetime >= HOUR && lifetime < HOUR + TIMEOUT, "{lifetime:?}");
    // The name of a host, but not a pattern, becomes a known host.
    assert_eq!(cold.hosts().list().await.expect("the query succeeds"), [host("a.org")]);

    let all = NewApiKey { hosts: Names::All, ..key("unlimited", &[]) };
    let stored = create(&cold, &all).await;
    let key = &stored.key;
    assert_eq!(
        (&key.channels, &key.usernames, &key.hosts),
        (&Names::All, &Names::All, &Names::All)
    );
    assert_eq!((key.limits, key.expires_at), (KeyLimits::default(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_key_is_created_only_if_no_key_exists() {
    let cold = cold("keys_first").await;
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let cold = cold.clone();
            let new = key(&format!("key{number}"), &["a.org", "b.org"]);
            tokio::spawn(async move { cold.api_keys().create_first(&new).await })
        })
        .collect();
    let mut created = Vec::new();
    for call in calls {
        let stored = call.await.expect("it does not panic").expect("the query succeeds");
        created.extend(stored);
    }
    assert_eq!(created.len(), 1);
    assert_eq!(list(&cold).await, created);
    let version = cold.api_keys().find_version().await.expect("a version");
    assert!(matches!(revoke(&cold, &created[0].start).await, ApiKeyLookup::Found(_)));
    let revoked = cold.api_keys().find_version().await.expect("a version");
    assert!(revoked > version);
    let second = cold.api_keys().create_first(&key("second", &["c.org"])).await;
    assert_eq!(second.expect("the query succeeds"), None);
    assert_eq!(list(&cold).await.len(), 1);
    assert_eq!(cold.api_keys().find_version().await.expect("a version"), revoked);
    let hosts = cold.hosts().list().await.expect("the query succeeds");
    assert!(!hosts.contains(&host("c.org")), "{hosts:?}");
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
    create(&cold, &key("first", &["a.org"])).await;
    assert!(has_changed().await);
    register(&cold, "first", "first", "b.org").await;
    assert!(has_changed().await);
    register(&cold, "first", "first", "a.org").await;
    assert!(!has_changed().await);
    rotate(&cold, "first", &secret("second", HOUR)).await;
    assert!(has_changed().await);
    revoke(&cold, "second").await;
    assert!(has_changed().await);
    cold.samples().store(&[], TIMEOUT).await.expect("nothing is stored");
    assert!(!has_changed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_found_and_revoked_by_id_prefix_or_value() {
    let cold = cold("keys_revoked").await;
    for name in ["aaaaa", "ccccc", "eeeee"] {
        create(&cold, &key(name, &["a.org"])).await;
    }
    for text in ["bbbbb1", "bbbbb2"] {
        register(&cold, text, "bbbbb", "a.org").await;
    }
    assert_eq!(revoke(&cold, "zzzzz").await, ApiKeyLookup::NotFound);
    assert_eq!(revoke(&cold, &Uuid::now_v7().to_string()).await, ApiKeyLookup::NotFound);
    let ApiKeyLookup::Ambiguous(several) = revoke(&cold, "bbbbb").await else {
        panic!("two keys match");
    };
    assert!(several.len() == 2 && several.iter().all(|key| !key.key.is_revoked));
    assert_eq!(find(&cold, "bbbbb").await, ApiKeyLookup::Ambiguous(several.clone()));
    let id = several[1].key.id.to_string();
    for which in ["aaaaa0000000", "ccccc", "mf_eeeee0000000", &id] {
        let ApiKeyLookup::Found(before) = find(&cold, which).await else { panic!("{which}") };
        assert!(!before.key.is_revoked, "{which}");
        let ApiKeyLookup::Found(first) = revoke(&cold, which).await else { panic!("{which}") };
        assert!(first.key.is_revoked && first.key.id == before.key.id, "{which}");
        // Idempotent: the first revocation time is retained.
        assert_eq!(revoke(&cold, which).await, ApiKeyLookup::Found(first), "{which}");
    }
    let active: Vec<_> = list(&cold).await.into_iter().filter(|key| !key.key.is_revoked).collect();
    assert_eq!(active, several[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_secret_stays_valid_for_the_overlap_and_the_one_before_it_does_not() {
    let cold = cold("keys_rotated").await;
    let created = create(&cold, &key("first", &["a.org"])).await;
    let [first, second, third, fourth] =
        ["first", "second", "third", "fourth"].map(KeyHash::from_key);

    let rotation = rotate(&cold, "first", &secret("second", HOUR)).await;
    let Rotation::Rotated { key, removed } = rotation else { panic!("{rotation:?}") };
    assert_eq!((removed, &key.hash, &key.key_id), (vec![], &second, &Some(key_id("second"))));
    assert_eq!((key.key.id, &key.key), (created.key.id, &created.key));
    let previous = key.previous.expect("the previous secret is valid");
    let overlap = previous.expires_at.since(created.created_at);
    assert_eq!(previous.hash, first);
    assert!(overlap >= HOUR && overlap < HOUR + TIMEOUT, "{overlap:?}");

    // A key is also found by its previous secret.
    let rotation = rotate(&cold, "first", &secret("third", HOUR)).await;
    let Rotation::Rotated { key, removed } = rotation else { panic!("{rotation:?}") };
    let hashes: Vec<_> = key.secrets().into_iter().map(|(hash, _)| hash).collect();
    assert_eq!((removed, hashes), (vec![first], vec![third.clone(), second.clone()]));

    let rotation = rotate(&cold, "third", &secret("fourth", Duration::ZERO)).await;
    let Rotation::Rotated { key, mut removed } = rotation else { panic!("{rotation:?}") };
    removed.sort();
    let mut expected = vec![second, third];
    expected.sort();
    assert_eq!((removed, &key.hash, &key.previous), (expected, &fourth, &None));
    assert_eq!(list(&cold).await, [key]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_revives_no_secret_of_an_expired_or_revoked_key() {
    let (cold, url) = cold_with_url("keys_expired").await;
    let new = NewApiKey { lifetime: Some(HOUR), ..key("first", &["a.org"]) };
    let expires_at = create(&cold, &new).await.key.expires_at;
    let lasting = NewSecret { lifetime: Some(2 * HOUR), ..secret("second", 9 * HOUR) };
    let rotation = rotate(&cold, "first", &lasting).await;
    let Rotation::Rotated { key, .. } = rotation else { panic!("{rotation:?}") };
    assert!(key.key.expires_at > expires_at);
    let previous = key.previous.expect("the previous secret is valid");
    assert_eq!(Some(previous.expires_at), expires_at, "the overlap does not extend the expiry");

    execute(&url, "UPDATE api_keys SET ends_at = now() - interval '1 second'").await;
    let rotation = rotate(&cold, "second", &secret("third", HOUR)).await;
    let Rotation::Expired(expired) = rotation else { panic!("{rotation:?}") };
    assert!(expired.is_expired && expired.hash == KeyHash::from_key("second"));
    let lasting = NewSecret { lifetime: Some(HOUR), ..secret("third", HOUR) };
    let rotation = rotate(&cold, "second", &lasting).await;
    let Rotation::Rotated { key, .. } = rotation else { panic!("{rotation:?}") };
    let previous = key.previous.map(|previous| previous.expires_at);
    assert!(!key.is_expired && previous == expired.key.expires_at, "{previous:?}");

    revoke(&cold, "third").await;
    let rotation = rotate(&cold, "third", &secret("fourth", HOUR)).await;
    assert!(matches!(rotation, Rotation::Revoked(_)), "{rotation:?}");
}

/// Processes of the previous version create keys with the old function.
#[tokio::test(flavor = "multi_thread")]
async fn key_of_the_previous_version_reads_only_the_pages_of_its_hosts() {
    let (cold, url) = cold_with_url("keys_previous").await;
    execute(
        &url,
        "SELECT relate_api_key_v1(gen_random_uuid(), sha256('old'), 'old', 'old', '{b.org,a.org}')",
    )
    .await;
    let [stored] = <[StoredApiKey; 1]>::try_from(list(&cold).await).expect("one key");
    assert_eq!(stored.key.scopes, Scopes::from_iter([Scope::Read]));
    assert_eq!((&stored.key.channels, &stored.key.usernames), (&Names::none(), &Names::none()));
    assert_eq!(stored.key.hosts, names(&["a.org", "b.org"]));
    assert_eq!((stored.key_id, stored.key.limits), (None, KeyLimits::default()));
}

/// A restriction that was written by hand and is invalid must not become a missing restriction.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_patterns_and_scopes_grant_nothing() {
    let (cold, url) = cold_with_url("keys_by_hand").await;
    create(&cold, &key("first", &[])).await;
    execute(
        &url,
        "UPDATE api_keys SET scopes = '{admin,NULL}', channels = '{\"\",NULL}', \
             usernames = '{NULL,fred}', hosts = array_fill('*********'::text, '{3}')",
    )
    .await;
    let [stored] = <[StoredApiKey; 1]>::try_from(list(&cold).await).expect("one key");
    assert_eq!(stored.key.scopes, Scopes::EMPTY);
    assert_eq!((&stored.key.channels, &stored.key.hosts), (&Names::none(), &Names::none()));
    assert_eq!(stored.key.usernames, names(&["fred"]));
}

/// Ignored restrictions would grant more than the owner allowed.
#[tokio::test(flavor = "multi_thread")]
async fn key_with_later_restrictions_is_not_used_but_can_be_revoked() {
    let (cold, url) = cold_with_url("keys_later").await;
    assert!(create(&cold, &key("first", &["a.org"])).await.is_supported);
    let later = format!("UPDATE api_keys SET requires = {}", Key::FORMAT + 1);
    let before = cold.api_keys().find_version().await.expect("a version");
    execute(&url, &later).await;
    assert!(cold.api_keys().find_version().await.expect("a version") > before);
    let rotation = rotate(&cold, "first", &secret("second", HOUR)).await;
    let Rotation::Rotated { key, .. } = rotation else { panic!("{rotation:?}") };
    assert!(!key.is_supported && key.previous.is_some(), "rotation keeps the restrictions");
    assert!(key.secrets().iter().all(|(_, key)| key.is_none()));
    let ApiKeyLookup::Found(revoked) = revoke(&cold, "second").await else { panic!("one key") };
    let secrets = revoked.secrets();
    assert!(secrets.iter().all(|(_, key)| key.as_ref().is_some_and(|key| key.is_revoked)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_registrations_create_one_key() {
    let cold = cold("keys_registered").await;
    let calls: Vec<_> = (0..16)
        .map(|number| {
            let cold = cold.clone();
            tokio::spawn(async move {
                let key = if number % 2 == 0 { "one" } else { "other" };
                let host = if number % 4 < 2 { "a.org" } else { "b.org" };
                register(&cold, key, "\x1b[2Jabcdefg\0", host).await;
            })
        })
        .collect();
    for call in calls {
        call.await.expect("it does not panic");
    }
    let listed = list(&cold).await;
    assert_eq!(listed.len(), 2);
    for key in listed {
        assert_eq!(key.key.hosts, names(&["a.org", "b.org"]));
        assert_eq!(key.start, "?[2Jabcd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_does_not_reactivate_a_revoked_key() {
    let cold = cold("keys_stay_revoked").await;
    register(&cold, "theirs", "theirs", "a.org").await;
    assert!(matches!(revoke(&cold, "theirs").await, ApiKeyLookup::Found(_)));
    let before = list(&cold).await;
    for host in ["a.org", "b.org"] {
        register(&cold, "theirs", "theirs", host).await;
    }
    assert_eq!(list(&cold).await, before);
    assert!(before[0].key.is_revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_a_key_are_limited() {
    let cold = cold("keys_hosts_max").await;
    let names: Vec<_> = (0..limits::API_KEY_HOSTS_MAX).map(|number| format!("h{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let stored = create(&cold, &key("many", &names)).await;
    let patterns = stored.key.hosts.patterns().expect("a list");
    assert_eq!(patterns.len(), limits::API_KEY_HOSTS_MAX);
    let (hash, host) = (KeyHash::from_key("many"), host("one.more"));
    let refused = cold.api_keys().register_source_key(&hash, "many", &host).await;
    assert!(refused.expect_err("too many").to_string().contains("a key opens at most 1000 hosts"));
    assert_eq!(list(&cold).await, [stored]);
}
