//! Synchronizes the API keys in Redis with Postgres.

use std::time::Duration;

use anyhow::ensure;
use mayfly_cold::{ColdStore, StoredApiKey};
use mayfly_core::limits;
use mayfly_hot::{HotStore, MirrorReload};
use tracing::{info, warn};
use uuid::Uuid;

use super::INTERRUPTED;

/// The interval between two checks, short enough that a key that is revoked in Postgres is usually
/// rejected everywhere within a second.
pub const INTERVAL: Duration = Duration::from_millis(250);
const PAGE_KEYS: u32 = 500;

/// Reloads all keys into Redis unless their version in Postgres is current in Redis or another
/// process is already reloading them.
pub async fn sync(hot: HotStore, cold: ColdStore) -> anyhow::Result<()> {
    if hot.api_keys().is_current(cold.api_keys().find_version().await?).await? {
        return Ok(());
    }
    let Some(reload) = hot.api_keys().begin_reload().await? else { return Ok(()) };
    load_all(&hot, &cold, &reload).await
}

/// Loads all keys, up to [`limits::API_KEYS_MAX`]. The version is read first, so that a concurrent
/// change causes another reload. The old keys remain in use until the last page has been loaded.
async fn load_all(hot: &HotStore, cold: &ColdStore, reload: &MirrorReload) -> anyhow::Result<()> {
    let version = cold.api_keys().find_version().await?;
    let (mut after, mut loaded) = (Uuid::nil(), 0);
    loop {
        let page = cold.api_keys().list(after, PAGE_KEYS).await?;
        if let Some(last) = page.last() {
            after = last.key.id;
        }
        loaded += page.len();
        let is_full = loaded >= limits::API_KEYS_MAX;
        let is_last = page.len() < PAGE_KEYS as usize || is_full;
        let secrets: Vec<_> = page.iter().flat_map(StoredApiKey::secrets).collect();
        let is_written = hot.api_keys().put_page(reload, &secrets, is_last.then_some(version));
        ensure!(is_written.await?, INTERRUPTED);
        if is_last {
            info!(keys = loaded, version, "loaded the API keys into Redis");
            if is_full {
                warn!(
                    keys = loaded,
                    "the maximum number of API keys has been loaded; any further keys are rejected"
                );
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::{Host, KeyHash};
    use mayfly_hot::ApiKeyState;

    use super::*;
    use crate::test_stores::TestStores;

    /// Stores a key in Postgres.
    async fn create(stores: &TestStores, text: &str) {
        let (hash, host) = (KeyHash::from_key(text), Host::parse("a.org").expect("a host"));
        let created = stores.cold.api_keys().register_source_key(&hash, text, &host).await;
        created.expect("it is stored");
    }

    async fn find(stores: &TestStores, text: &str) -> ApiKeyState {
        stores.hot.api_keys().find(&KeyHash::from_key(text)).await.expect("Redis responds")
    }

    async fn run_sync(stores: &TestStores) {
        sync(stores.hot.clone(), stores.cold.clone()).await.expect("both respond");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_are_reloaded_after_a_restart_of_redis() {
        let stores = TestStores::create("sync_keys").await;
        create(&stores, "one").await;
        run_sync(&stores).await;
        let found = find(&stores, "one").await;
        assert!(matches!(found, ApiKeyState::Found(_)), "{found:?}");

        // The rows were loaded in another run, and a newer row was lost.
        let rows = stores.hot.keys().api_keys();
        let mark: String = stores.query(&["HGET", &rows, ""]).await;
        let words: Vec<_> = mark.split(' ').collect();
        let other = format!("{} {} {}", words[0], "0".repeat(40), words[2]);
        stores.query::<()>(&["HSET", &rows, "", &other]).await;
        assert_eq!(find(&stores, "one").await, ApiKeyState::NotLoaded);
        run_sync(&stores).await;
        assert_eq!(find(&stores, "one").await, found);

        let loaded: String = stores.query(&["HGET", &rows, ""]).await;
        run_sync(&stores).await;
        let same: String = stores.query(&["HGET", &rows, ""]).await;
        assert_eq!(same, loaded, "current keys are not reloaded");
    }

    /// Another process may be reloading, or may have crashed during its reload.
    #[tokio::test(flavor = "multi_thread")]
    async fn reload_in_progress_is_not_disturbed() {
        let stores = TestStores::create("sync_keys_once").await;
        create(&stores, "one").await;
        let reload = stores.hot.api_keys().begin_reload().await.expect("Redis responds");
        let reload = reload.expect("no other reload is in progress");
        run_sync(&stores).await;
        assert_eq!(find(&stores, "one").await, ApiKeyState::NotLoaded);
        stores.query::<()>(&["DEL", &stores.hot.keys().new_api_keys()]).await;
        run_sync(&stores).await;
        assert!(matches!(find(&stores, "one").await, ApiKeyState::Found(_)));
        let interrupted = load_all(&stores.hot, &stores.cold, &reload).await;
        let error = interrupted.expect_err("the reload has expired").to_string();
        assert_eq!(error, INTERRUPTED);
    }
}
