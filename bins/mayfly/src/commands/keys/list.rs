//! `mayfly keys list` and `mayfly keys show`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::{ColdStore, StoredApiKey};
use mayfly_live_client::terminal::print;
use uuid::Uuid;

use super::{find_single, view};
use crate::command_line::{ListKeys, SelectKey};

const PAGE_KEYS: u32 = 500;

pub(super) async fn list(cold: &ColdStore, options: &ListKeys) -> Result<ExitCode> {
    let keys = read_all(cold).await.context("cannot read the keys in Postgres")?;
    print(&if options.json { view::render_json_list(&keys) } else { view::render_list(&keys) });
    Ok(ExitCode::SUCCESS)
}

/// Reads all keys. There are at most [`API_KEYS_MAX`](mayfly_core::limits::API_KEYS_MAX).
async fn read_all(cold: &ColdStore) -> Result<Vec<StoredApiKey>> {
    let mut keys: Vec<StoredApiKey> = Vec::new();
    loop {
        let after = keys.last().map_or(Uuid::nil(), |last| last.key.id);
        let page = cold.api_keys().list(after, PAGE_KEYS).await?;
        let is_last = page.len() < PAGE_KEYS as usize;
        keys.extend(page);
        if is_last {
            return Ok(keys);
        }
    }
}

pub(super) async fn show(cold: &ColdStore, options: &SelectKey) -> Result<ExitCode> {
    let found = cold.api_keys().find(&options.id_or_prefix).await;
    let Some(key) = find_single(found.context("cannot read the key in Postgres")?) else {
        return Ok(ExitCode::FAILURE);
    };
    print(&if options.json { view::render_json(&key) } else { view::render_details(&key) });
    Ok(ExitCode::SUCCESS)
}
