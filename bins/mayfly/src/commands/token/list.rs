//! `mayfly token list`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::{ColdStore, StoredTokenRevocation};
use mayfly_live_client::terminal::print;
use uuid::Uuid;

use super::view;
use crate::command_line::ListRevocations;

const PAGE_REVOCATIONS: u32 = 1_000;

pub(super) async fn list(cold: &ColdStore, options: &ListRevocations) -> Result<ExitCode> {
    let revocations = read_all(cold).await.context("cannot read the revocations in Postgres")?;
    print(&if options.json {
        view::render_json_list(&revocations)
    } else {
        view::render_list(&revocations)
    });
    Ok(ExitCode::SUCCESS)
}

/// Reads all revocations. There are normally at most
/// [`TOKEN_REVOCATIONS_MAX`](mayfly_core::limits::TOKEN_REVOCATIONS_MAX).
async fn read_all(cold: &ColdStore) -> Result<Vec<StoredTokenRevocation>> {
    let mut revocations: Vec<StoredTokenRevocation> = Vec::new();
    loop {
        let after = revocations.last().map_or(Uuid::nil(), |last| last.id);
        let page = cold.token_revocations().list(after, PAGE_REVOCATIONS).await?;
        let is_last = page.len() < PAGE_REVOCATIONS as usize;
        revocations.extend(page);
        if is_last {
            return Ok(revocations);
        }
    }
}
