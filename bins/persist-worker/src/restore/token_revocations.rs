//! Synchronizes the token revocations in Redis with Postgres.

use std::time::Duration;

use anyhow::{bail, ensure};
use mayfly_cold::ColdStore;
use mayfly_core::{TokenRevocation, limits};
use mayfly_hot::{HotStore, MirrorReload};
use tracing::info;
use uuid::Uuid;

use super::INTERRUPTED;

/// The interval between two checks, short enough that a token that is revoked in Postgres is
/// usually rejected everywhere within a second.
pub const INTERVAL: Duration = Duration::from_millis(250);
const PAGE_REVOCATIONS: u32 = 1_000;

/// Reloads all revocations into Redis unless their version in Postgres is current in Redis or
/// another process is already reloading them.
pub async fn sync(hot: HotStore, cold: ColdStore) -> anyhow::Result<()> {
    let version = cold.token_revocations().find_version().await?;
    if hot.token_revocations().is_current(version).await? {
        return Ok(());
    }
    let Some(reload) = hot.token_revocations().begin_reload().await? else { return Ok(()) };
    load_all(&hot, &cold, &reload).await
}

/// Loads all revocations. The version is read first, so that a concurrent change causes another
/// reload. The old revocations remain in use until the last page has been loaded.
///
/// If there are more than [`limits::TOKEN_REVOCATIONS_MAX`], the revocations are marked as not
/// loaded: a revoked token must not be accepted because its revocation was omitted. The abandoned
/// reload delays the next attempt.
async fn load_all(hot: &HotStore, cold: &ColdStore, reload: &MirrorReload) -> anyhow::Result<()> {
    let version = cold.token_revocations().find_version().await?;
    let (mut after, mut loaded) = (Uuid::nil(), 0);
    loop {
        let page = cold.token_revocations().list(after, PAGE_REVOCATIONS).await?;
        if let Some(last) = page.last() {
            after = last.id;
        }
        loaded += page.len();
        if loaded > limits::TOKEN_REVOCATIONS_MAX {
            hot.token_revocations().unload().await?;
            bail!(
                "the table token_revocations contains more than {} unexpired rows; requests with \
                 tokens receive 503 until some of them are deleted",
                limits::TOKEN_REVOCATIONS_MAX
            );
        }
        let is_last = page.len() < PAGE_REVOCATIONS as usize;
        let page: Vec<TokenRevocation> = page.into_iter().map(|row| row.revocation).collect();
        let mirror = hot.token_revocations();
        ensure!(mirror.put_page(reload, &page, is_last.then_some(version)).await?, INTERRUPTED);
        if is_last {
            info!(revocations = loaded, version, "loaded the token revocations into Redis");
            return Ok(());
        }
    }
}
