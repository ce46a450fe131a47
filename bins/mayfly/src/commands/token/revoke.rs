//! `mayfly token revoke`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mayfly_cold::{ColdStore, RevokedTokens};
use mayfly_core::TokenRevocation;
use mayfly_hot::HotStore;
use mayfly_live_client::terminal::{escape, print, print_err};
use mayfly_runtime::Settings;

use super::view;
use crate::command_line::RevokeTokens;

pub(super) async fn revoke(
    settings: &Settings,
    cold: &ColdStore,
    options: &RevokeTokens,
) -> Result<ExitCode> {
    let tokens = match (&options.id, &options.subject) {
        (Some(id), None) => RevokedTokens::Token(id),
        (None, Some(subject)) => {
            RevokedTokens::Subject { subject, issued_before: options.issued_before }
        }
        _ => bail!("either --jti or --sub is required"),
    };
    let stored = cold.token_revocations().revoke(tokens, options.token_ttl).await;
    let stored = stored.context("cannot store the revocation in Postgres")?;
    print(&if options.json {
        view::render_json(&stored)
    } else {
        escape(&match &stored.revocation {
            TokenRevocation::Token(id) => format!("the token {id} was revoked"),
            TokenRevocation::Subject { subject, issued_before } => {
                format!(
                    "the tokens of {subject} that were issued before {issued_before} were revoked"
                )
            }
        })
    });
    if let Err(error) = copy_to_redis(settings, &stored.revocation).await {
        print_err(&format!(
            "the revocation is stored only in Postgres, because Redis is unavailable ({error:#}); \
             services that can reach Redis accept the tokens until about a second after a \
             persist-worker can reach Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy_to_redis(settings: &Settings, revocation: &TokenRevocation) -> Result<()> {
    Ok(HotStore::new(&settings.redis)?.token_revocations().put(revocation).await?)
}
