//! `mayfly keys revoke`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::ColdStore;
use mayfly_live_client::terminal::{escape, print, print_err};
use mayfly_runtime::Settings;

use super::{copy_to_redis, find_single, view};
use crate::command_line::SelectKey;

pub(super) async fn revoke(
    settings: &Settings,
    cold: &ColdStore,
    options: &SelectKey,
) -> Result<ExitCode> {
    let revocation = cold.api_keys().revoke(&options.id_or_prefix).await;
    let Some(key) = find_single(revocation.context("cannot revoke the key in Postgres")?) else {
        return Ok(ExitCode::FAILURE);
    };
    if options.json {
        print(&view::render_json(&key));
    } else {
        let at = key.revoked_at.map_or_else(String::new, |at| format!(" at {at}"));
        let line = format!("{} ({}, {}) was revoked{at}", key.key.id, key.start, key.name);
        print(&escape(&line));
    }
    if let Err(error) = copy_to_redis(settings, &key, &[]).await {
        print_err(&format!(
            "the key is revoked only in Postgres, because Redis is unavailable ({error:#}); \
             services that can reach Redis accept the key until about a second after a \
             persist-worker can reach Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
