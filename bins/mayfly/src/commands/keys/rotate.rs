//! `mayfly keys rotate`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::{ColdStore, NewSecret, Rotation};
use mayfly_live_client::terminal::print_err;
use mayfly_runtime::Settings;

use super::{copy_to_redis, find_single, generate_secret, print_secret};
use crate::command_line::RotateKey;

pub(super) async fn rotate(
    settings: &Settings,
    cold: &ColdStore,
    options: &RotateKey,
) -> Result<ExitCode> {
    let found = cold.api_keys().find(&options.id_or_prefix).await;
    let Some(before) = find_single(found.context("cannot read the key in Postgres")?) else {
        return Ok(ExitCode::FAILURE);
    };
    let secret = generate_secret(before.key_id.as_ref())?;
    let new = NewSecret {
        key_id: secret.id(),
        hash: secret.hash(),
        overlap: options.overlap,
        lifetime: options.expires,
    };
    let id = before.key.id.to_string();
    let rotation = cold.api_keys().rotate(&id, &new).await;
    // Postgres may have executed a statement to which it did not respond. A second rotation would
    // then reject the secret that the servers of the owner use.
    let rotation = rotation.with_context(|| {
        format!(
            "cannot rotate the key in Postgres (if `mayfly keys show {id}` shows a new time at \
             which the previous secret expires, the key was rotated nevertheless, and its new \
             secret is lost: create another key, because a second rotation rejects the secret \
             that is in use)"
        )
    });
    let (key, removed) = match find_single(rotation?) {
        Some(Rotation::Rotated { key, removed }) => (key, removed),
        Some(Rotation::Revoked(key)) => {
            print_err(&format!("the key {} is revoked; create another key", key.key.id));
            return Ok(ExitCode::FAILURE);
        }
        Some(Rotation::Expired(key)) => {
            print_err(&format!("the key {} has expired; use --expires", key.key.id));
            return Ok(ExitCode::FAILURE);
        }
        None => return Ok(ExitCode::FAILURE),
    };
    print_secret(&secret, &key, options.json);
    print_err(&match &key.previous {
        Some(previous) => {
            format!("the previous secret is rejected from {} on", previous.expires_at)
        }
        None => "the previous secret is rejected from now on".to_owned(),
    });
    if let Err(error) = copy_to_redis(settings, &key, &removed).await {
        print_err(&format!(
            "cannot copy the key to Redis ({error:#}); the new secret becomes valid, and other \
             secrets are rejected, about a second after a persist-worker can reach Redis and \
             Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
