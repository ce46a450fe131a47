//! `mayfly keys`: creates, lists, shows, rotates and revokes API keys.
//!
//! A change is written to Postgres first, then to Redis, where the services look up keys. If Redis
//! is unavailable, a persist-worker copies the change later.

mod create;
mod list;
mod revoke;
mod rotate;
mod view;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_auth::{KeyId, KeySecret};
use mayfly_cold::{ApiKeyLookup, ColdStore, StoredApiKey};
use mayfly_core::KeyHash;
use mayfly_hot::HotStore;
use mayfly_live_client::terminal::{print, print_err};
use mayfly_runtime::Settings;

use crate::command_line::Keys;
use crate::settings::load_settings;

pub(crate) async fn keys(command: Keys) -> Result<ExitCode> {
    let settings = load_settings()?;
    let cold = ColdStore::new(&settings.postgres);
    match command {
        Keys::Create(options) => create::create(&settings, &cold, options).await,
        Keys::List(options) => list::list(&cold, &options).await,
        Keys::Show(options) => list::show(&cold, &options).await,
        Keys::Rotate(options) => rotate::rotate(&settings, &cold, &options).await,
        Keys::Revoke(options) => revoke::revoke(&settings, &cold, &options).await,
    }
}

/// Returns the result if exactly one key matches. Otherwise, reports why the command fails.
fn find_single<T>(lookup: ApiKeyLookup<T>) -> Option<T> {
    match lookup {
        ApiKeyLookup::Found(found) => return Some(*found),
        ApiKeyLookup::NotFound => print_err("no key has this ID or prefix"),
        ApiKeyLookup::Ambiguous(keys) => {
            print_err("several keys have this prefix, and none was changed; use an ID");
            print(&view::render_list(&keys));
        }
    }
    None
}

/// Generates a secret for the key with this public part, or for a new key.
fn generate_secret(id: Option<&KeyId>) -> Result<KeySecret> {
    let secret = id.map_or_else(KeySecret::generate, KeySecret::generate_for);
    secret.context("cannot read random bytes")
}

/// Writes a changed key to Redis. `removed` contains the digests that the key no longer has.
async fn copy_to_redis(settings: &Settings, key: &StoredApiKey, removed: &[KeyHash]) -> Result<()> {
    Ok(HotStore::new(&settings.redis)?.api_keys().put(&key.secrets(), removed).await?)
}

/// Prints a new secret on standard output, where it can be redirected to a file, and everything
/// else on standard error.
fn print_secret(secret: &KeySecret, key: &StoredApiKey, is_json: bool) {
    if is_json {
        print(&view::render_json_with_secret(key, secret));
    } else {
        print(secret.expose());
    }
    print_err(&format!("the key cannot be shown again; its ID is {}", key.key.id));
}
