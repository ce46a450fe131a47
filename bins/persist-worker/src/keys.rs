//! Keeps the API keys in Redis as Postgres has them: after every change of them, and after Redis lost
//! its data.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_core::{KnownKey, limits};
use mayfly_hot::{ApiKeysTurn, Hot};
use tracing::{info, warn};
use uuid::Uuid;

/// A key that was revoked is refused everywhere a second later, also where only Postgres was told.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Keys of one page.
const PAGE_KEYS: u32 = 500;

/// Puts all keys into Redis where it has others than Postgres. Any number of workers may be at it.
pub async fn keep_keys(hot: &Hot, cold: &Cold) -> anyhow::Result<()> {
    if hot.has_api_keys(cold.api_keys_version().await?).await? {
        return Ok(());
    }
    let Some(turn) = hot.begin_api_keys().await? else { return Ok(()) };
    put_all(hot, cold, &turn).await
}

/// The version is read before the keys: where one changes meanwhile, all is done again. Cut off,
/// what was there stays, until another worker does it.
async fn put_all(hot: &Hot, cold: &Cold, turn: &ApiKeysTurn) -> anyhow::Result<()> {
    let version = cold.api_keys_version().await?;
    let (mut behind, mut put) = (Uuid::nil(), 0);
    loop {
        let page = cold.list_api_keys(behind, PAGE_KEYS).await?;
        if let Some(last) = page.last() {
            behind = last.known.id;
        }
        put += page.len();
        let is_full = put >= limits::API_KEYS_MAX;
        let is_last = page.len() < PAGE_KEYS as usize || is_full;
        let page: Vec<KnownKey> = page.into_iter().map(|key| key.known).collect();
        if !hot.put_api_keys(turn, &page, is_last.then_some(version)).await? {
            return Ok(());
        }
        if is_last {
            info!(keys = put, version, "put the API keys into Redis");
            if is_full {
                warn!(keys = put, "there are as many API keys as there may be");
            }
            return Ok(());
        }
    }
}
