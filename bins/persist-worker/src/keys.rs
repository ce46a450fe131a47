//! Keeps the API keys in Redis as Postgres has them: after every change of them, and after Redis lost
//! its data.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_core::{KnownKey, limits};
use mayfly_hot::{ApiKeysTurn, Hot};
use mayfly_runtime::every;
use tracing::{debug, info, warn};
use uuid::Uuid;

/// A key that was revoked is refused everywhere a second later, also where only Postgres was told.
const INTERVAL: Duration = Duration::from_millis(250);
/// Keys of one page.
const PAGE_KEYS: u32 = 500;

/// Keeps the keys. Any number of workers may be at it.
pub struct KeysKeeper {
    hot: Hot,
    cold: Cold,
}

impl KeysKeeper {
    /// Between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold }
    }

    /// Looks whether there is something to do, until aborted.
    pub async fn run(self) {
        let mut ticks = every(INTERVAL);
        loop {
            ticks.tick().await;
            if let Err(error) = self.keep().await {
                debug!(%error, "cannot keep the API keys now");
            }
        }
    }

    async fn keep(&self) -> anyhow::Result<()> {
        if self.hot.has_api_keys(self.cold.api_keys_version().await?).await? {
            return Ok(());
        }
        let Some(turn) = self.hot.begin_api_keys().await? else { return Ok(()) };
        self.put_all(&turn).await
    }

    /// The version is read before the keys: where one changes meanwhile, all is done again. Cut off,
    /// what was there stays, until another worker does it.
    async fn put_all(&self, turn: &ApiKeysTurn) -> anyhow::Result<()> {
        let version = self.cold.api_keys_version().await?;
        let (mut behind, mut put) = (Uuid::nil(), 0);
        loop {
            let page = self.cold.list_api_keys(behind, PAGE_KEYS).await?;
            if let Some(last) = page.last() {
                behind = last.known.id;
            }
            put += page.len();
            let is_full = put >= limits::API_KEYS_MAX;
            let is_last = page.len() < PAGE_KEYS as usize || is_full;
            let page: Vec<KnownKey> = page.into_iter().map(|key| key.known).collect();
            if !self.hot.put_api_keys(turn, &page, is_last.then_some(version)).await? {
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
}
