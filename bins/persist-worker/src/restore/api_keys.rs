//! Synchronizes the API keys in Redis with Postgres.

use std::time::Duration;

use mayfly_cold::{ColdStore, StoredApiKey};
use mayfly_core::limits;
use mayfly_hot::{HotStore, MirrorReload};
use tracing::{info, warn};
use uuid::Uuid;

/// The interval between two checks, short enough that a key that is revoked in Postgres is usually
/// rejected everywhere within a second.
pub const INTERVAL: Duration = Duration::from_millis(250);
const PAGE_KEYS: u32 = 500;

/// Reloads all keys into Redis if their version in Redis differs from the version in Postgres,
/// unless another process is already reloading them.
pub async fn sync(hot: HotStore, cold: ColdStore) -> anyhow::Result<()> {
    if hot.api_keys().has_version(cold.api_keys().find_version().await?).await? {
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
        if !hot.api_keys().put_page(reload, &secrets, is_last.then_some(version)).await? {
            return Ok(());
        }
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
