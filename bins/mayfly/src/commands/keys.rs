//! `mayfly keys`: creates, lists and revokes API keys.
//!
//! A change is written to Postgres first, then to Redis, where the services look up keys. If Redis
//! is unavailable, a persist-worker copies the change later.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::{ColdStore, NewApiKey, Revocation, StoredApiKey};
use mayfly_core::{ApiKey, Host, KeyHash, Timestamp, limits};
use mayfly_hot::HotStore;
use mayfly_live_client::terminal::{print, print_err};
use mayfly_runtime::Settings;
use uuid::Uuid;

use crate::command_line::{CreateKey, Keys};
use crate::settings::load_settings;

/// The marker at the start of every key, so that secret scanners can recognize keys.
const MARKER: &str = "mf_";
/// The number of random characters after the marker. Together, these characters have about 190 bits
/// of entropy.
const RANDOM_CHARS: usize = 32;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The page size of `list`.
const PAGE_KEYS: u32 = 500;

pub(crate) async fn keys(command: Keys) -> Result<ExitCode> {
    let settings = load_settings()?;
    let cold = ColdStore::new(&settings.postgres);
    match command {
        Keys::Create(key) => create(&settings, &cold, key).await,
        Keys::List => list(&cold).await,
        Keys::Revoke { id_or_prefix } => revoke(&settings, &cold, &id_or_prefix).await,
    }
}

async fn create(settings: &Settings, cold: &ColdStore, options: CreateKey) -> Result<ExitCode> {
    let secret = generate_key()?;
    let mut hosts = options.hosts;
    hosts.sort();
    hosts.dedup();
    let new = NewApiKey {
        id: Uuid::now_v7(),
        hash: KeyHash::from_key(&secret),
        name: options.name,
        start: secret[..limits::API_KEY_START_CHARS].to_owned(),
        hosts,
    };
    cold.api_keys().create(&new).await.context("cannot store the key in Postgres")?;
    print(&secret);
    print_err(&format!("the key cannot be shown again; its ID is {}", new.id));
    let key = ApiKey { hash: new.hash, id: new.id, hosts: new.hosts, is_revoked: false };
    if let Err(error) = copy_to_redis(settings, &key).await {
        print_err(&format!(
            "cannot copy the key to Redis ({error:#}); the key becomes valid about a second after \
             a persist-worker can reach Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(cold: &ColdStore) -> Result<ExitCode> {
    let mut last_id = Uuid::nil();
    print(&format!(
        "{:<36} {:<8} {:<24} {:<24} {:<20} hosts",
        "id", "prefix", "created", "revoked", "name"
    ));
    loop {
        let page = cold.api_keys().list(last_id, PAGE_KEYS).await;
        let page = page.context("cannot read the keys in Postgres")?;
        page.iter().for_each(print_key);
        match page.last() {
            Some(last) if page.len() == PAGE_KEYS as usize => last_id = last.key.id,
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn revoke(settings: &Settings, cold: &ColdStore, id_or_prefix: &str) -> Result<ExitCode> {
    let revocation = cold.api_keys().revoke(id_or_prefix).await;
    let key = match revocation.context("cannot revoke the key in Postgres")? {
        Revocation::Revoked(key) => key,
        Revocation::NotFound => {
            print_err("no key has this ID or prefix");
            return Ok(ExitCode::FAILURE);
        }
        Revocation::Ambiguous(keys) => {
            print_err("several keys have this prefix, and none was revoked; use an ID");
            keys.iter().for_each(print_key);
            return Ok(ExitCode::FAILURE);
        }
    };
    let at = key.revoked_at.map_or_else(String::new, |at| format!(" at {at}"));
    print(&format!("{} ({}, {}) was revoked{at}", key.key.id, key.start, key.name));
    if let Err(error) = copy_to_redis(settings, &key.key).await {
        print_err(&format!(
            "the key is revoked only in Postgres, because Redis is unavailable ({error:#}); services \
             that can reach Redis accept the key until about a second after a persist-worker can \
             reach Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy_to_redis(settings: &Settings, key: &ApiKey) -> Result<()> {
    Ok(HotStore::new(&settings.redis)?.api_keys().put(key).await?)
}

fn print_key(key: &StoredApiKey) {
    let format_time =
        |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let hosts: Vec<_> = key.key.hosts.iter().map(Host::as_str).collect();
    print(&format!(
        "{:<36} {:<8} {:<24} {:<24} {:<20} {}",
        key.key.id.to_string(),
        key.start,
        format_time(Some(key.created_at)),
        format_time(key.revoked_at),
        key.name,
        hosts.join(" ")
    ));
}

/// Generates a key with the random number generator of the operating system.
fn generate_key() -> Result<String> {
    let mut key = String::from(MARKER);
    let mut bytes = [0_u8; 2 * RANDOM_CHARS];
    while key.len() < MARKER.len() + RANDOM_CHARS {
        getrandom::fill(&mut bytes).context("cannot read random bytes")?;
        let remaining = MARKER.len() + RANDOM_CHARS - key.len();
        key.extend(bytes.iter().filter_map(|byte| to_digit(*byte)).take(remaining));
    }
    Ok(key)
}

/// Maps a byte to a base-62 digit. Rejects the bytes that would bias the distribution.
fn to_digit(byte: u8) -> Option<char> {
    let is_unbiased = usize::from(byte) < 256 - 256 % DIGITS.len();
    is_unbiased.then(|| char::from(DIGITS[usize::from(byte) % DIGITS.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_32_uniformly_distributed_base_62_digits() {
        let (key, other) = (generate_key().expect("a key"), generate_key().expect("a key"));
        assert_ne!(key, other);
        let random = key.strip_prefix("mf_").expect("the marker");

        assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        for digit in DIGITS {
            let bytes = (0..=255_u8).filter(|byte| to_digit(*byte) == Some(char::from(*digit)));
            assert_eq!(bytes.count(), 4);
        }
    }
}
