//! `mayfly keys`: makes API keys, shows which there are, and revokes them.
//!
//! Postgres is told first, then Redis, where keys are looked up. What Redis could not be told,
//! persist-workers tell it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mayfly_cold::{ApiKeyRow, Cold, NewApiKey, Revocation};
use mayfly_core::{Host, KeyHash, KnownKey, Timestamp, limits};
use mayfly_hot::Hot;
use mayfly_runtime::Settings;
use uuid::Uuid;

use crate::command_line::{CreateKey, Keys};
use crate::output::{remark, say};
use crate::settings::load_settings;

/// What every key begins with, so that one is known for what it is wherever it turns up.
const BEGINNING: &str = "mf_";
/// Characters behind that: 190 bits.
const RANDOM_CHARS: usize = 32;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Keys of one page.
const PAGE_KEYS: u32 = 500;

pub(crate) async fn keys(what: Keys) -> Result<ExitCode> {
    let settings = load_settings()?;
    let cold = Cold::new(&settings.postgres);
    match what {
        Keys::Create(key) => create(&settings, &cold, key).await,
        Keys::List => list(&cold).await,
        Keys::Revoke { which } => revoke(&settings, &cold, &which).await,
    }
}

async fn create(settings: &Settings, cold: &Cold, wanted: CreateKey) -> Result<ExitCode> {
    let key = make_key()?;
    let mut hosts = wanted.hosts;
    hosts.sort();
    hosts.dedup();
    let new = NewApiKey {
        id: Uuid::now_v7(),
        hash: KeyHash::of(&key),
        name: wanted.name,
        start: key[..limits::API_KEY_START_CHARS].to_owned(),
        hosts,
    };
    cold.create_api_key(&new).await.context("the key could not be stored in Postgres")?;
    say(&key);
    remark(&format!("this key is shown only now; it is {} in the list of keys", new.id));
    let known = KnownKey { hash: new.hash, id: new.id, hosts: new.hosts, is_revoked: false };
    if let Err(error) = tell_redis(settings, &known).await {
        remark(&format!(
            "Redis could not be told of it ({error:#}): it is good within a second of when a \
             persist-worker reaches Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(cold: &Cold) -> Result<ExitCode> {
    let mut behind = Uuid::nil();
    say(&format!(
        "{:<36} {:<8} {:<24} {:<24} {:<20} hosts",
        "id", "start", "created", "revoked", "name"
    ));
    loop {
        let page = cold.list_api_keys(behind, PAGE_KEYS).await;
        let page = page.context("Postgres cannot be asked")?;
        page.iter().for_each(print_key);
        match page.last() {
            Some(last) if page.len() == PAGE_KEYS as usize => behind = last.known.id,
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn revoke(settings: &Settings, cold: &Cold, which: &str) -> Result<ExitCode> {
    let revocation = cold.revoke_api_key(which).await;
    let key = match revocation.context("the key could not be revoked in Postgres")? {
        Revocation::Revoked(key) => key,
        Revocation::Unknown => {
            remark("no key has this id, or begins so");
            return Ok(ExitCode::FAILURE);
        }
        Revocation::Several(keys) => {
            remark("several keys begin so, and none was revoked: name one by its id");
            keys.iter().for_each(print_key);
            return Ok(ExitCode::FAILURE);
        }
    };
    let since = key.revoked_at.map_or_else(String::new, |at| format!(" since {at}"));
    say(&format!("{} ({}, {}) is revoked{since}", key.known.id, key.start, key.name));
    if let Err(error) = tell_redis(settings, &key.known).await {
        remark(&format!(
            "only Postgres knows of it as yet, for Redis could not be told ({error:#}): where Redis \
             is reached, the key is taken until a second after a persist-worker reaches both"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell_redis(settings: &Settings, key: &KnownKey) -> Result<()> {
    Ok(Hot::new(&settings.redis)?.put_api_key(key).await?)
}

fn print_key(key: &ApiKeyRow) {
    let at = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let hosts: Vec<_> = key.known.hosts.iter().map(Host::as_str).collect();
    say(&format!(
        "{:<36} {:<8} {:<24} {:<24} {:<20} {}",
        key.known.id.to_string(),
        key.start,
        at(Some(key.created_at)),
        at(key.revoked_at),
        key.name,
        hosts.join(" ")
    ));
}

/// A key that nobody can guess, by the randomness of the operating system.
fn make_key() -> Result<String> {
    let mut key = String::from(BEGINNING);
    let mut bytes = [0_u8; 2 * RANDOM_CHARS];
    while key.len() < BEGINNING.len() + RANDOM_CHARS {
        getrandom::fill(&mut bytes).context("the operating system gives no randomness")?;
        let left = BEGINNING.len() + RANDOM_CHARS - key.len();
        key.extend(bytes.iter().filter_map(|byte| to_digit(*byte)).take(left));
    }
    Ok(key)
}

/// A digit of base 62; of bytes that would make some digits likelier than others, none.
fn to_digit(byte: u8) -> Option<char> {
    let is_even = usize::from(byte) < 256 - 256 % DIGITS.len();
    is_even.then(|| char::from(DIGITS[usize::from(byte) % DIGITS.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_characters_of_base_62_each_as_likely() {
        let (one, other) = (make_key().expect("a key"), make_key().expect("a key"));
        assert_ne!(one, other);
        let random = one.strip_prefix("mf_").expect("it begins so");
        assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        for digit in DIGITS {
            let bytes = (0..=255_u8).filter(|byte| to_digit(*byte) == Some(char::from(*digit)));
            assert_eq!(bytes.count(), 4);
        }
    }
}
