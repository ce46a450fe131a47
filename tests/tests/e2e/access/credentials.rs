//! Keys and tokens for tests.

use std::{io::Write, path::Path, sync::OnceLock};

use mayfly_auth::KeySecret;
use mayfly_core::{Clock, SystemClock};
use mayfly_tests::{DEFAULT_TIMEOUT, World, eventually};
use serde_json::Value;
use tempfile::NamedTempFile;
use uuid::Uuid;

/// The secret that the services verify tokens with.
pub const SECRET: &str = "a secret of the end-to-end tests, 32 bytes or more";

/// A key to create. `None` means that a list is missing, which allows all names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewKey<'a> {
    /// The scopes.
    pub scopes: &'a [&'a str],
    /// The patterns of the channels.
    pub channels: Option<&'a [&'a str]>,
    /// The patterns of the usernames.
    pub usernames: Option<&'a [&'a str]>,
    /// The patterns of the hosts.
    pub hosts: Option<&'a [&'a str]>,
    /// The limits for messages, plays and visits.
    pub limits: [Option<&'a str>; 3],
    /// Whether the key has been revoked.
    pub is_revoked: bool,
    /// Whether the key has expired.
    pub is_expired: bool,
}

/// A token to sign.
#[derive(Debug, Clone)]
pub struct TokenOptions<'a> {
    /// The claim `sub`.
    pub subject: &'a str,
    /// The claim `mayfly`.
    pub rights: Value,
    /// The time until the token expires, in seconds.
    pub ttl_s: i64,
    /// The claim `jti`.
    pub id: Option<&'a str>,
    /// The secret.
    pub secret: &'a str,
}

/// Returns the file with [`SECRET`]. The file exists until the process exits.
pub fn secret_file() -> &'static Path {
    static FILE: OnceLock<NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let mut file = NamedTempFile::new().expect("a temporary file is created");
        writeln!(file, "{SECRET}").expect("the secret is written");
        file
    });
    file.path()
}

/// Creates keys in Postgres and waits until a persist-worker has copied them to Redis.
pub async fn create_keys(world: &World, keys: &[NewKey<'_>]) -> Vec<String> {
    const INSERT: &str = "INSERT INTO api_keys (id, hash, name, start, scopes, channels, \
             usernames, hosts, rate, plays_rate, visits_rate, revoked_at, ends_at) \
         VALUES ($1::text::uuid, sha256(convert_to($2, 'UTF8')), 'a test', 'mf_', $3, $4, $5, $6, \
             $7, $8, $9, CASE WHEN $10 THEN now() END, CASE WHEN $11 THEN now() END)";
    let postgres = world.postgres().await;
    let probe = NewKey { scopes: &["operate"], ..NewKey::default() };
    let mut texts = Vec::new();
    // A copy contains all keys, so every key is known when the last one is.
    for key in keys.iter().chain([&probe]) {
        let secret = KeySecret::generate().expect("the system has random numbers");
        let text = secret.expose().to_owned();
        let id = Uuid::now_v7().to_string();
        let [messages, plays, visits] = key.limits;
        postgres
            .execute(
                INSERT,
                &[
                    &id,
                    &text,
                    &key.scopes,
                    &key.channels,
                    &key.usernames,
                    &key.hosts,
                    &messages,
                    &plays,
                    &visits,
                    &key.is_revoked,
                    &key.is_expired,
                ],
            )
            .await
            .expect("the key is created");
        texts.push(text);
    }
    let probe = texts.pop().expect("there is a probe");
    eventually(DEFAULT_TIMEOUT, "Redis has the keys", async || {
        let url = world.list_url("/v1/users/nobody/messages");
        let response = world.http.get(url).bearer_auth(&probe).send().await;
        let status = response.expect("list-api responds").status().as_u16();
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
    texts
}

/// Signs a token that is valid for an hour.
pub fn create_token(subject: &str, rights: Value) -> String {
    sign_token(&TokenOptions { subject, rights, ttl_s: 3_600, id: None, secret: SECRET })
}

/// Signs a token.
pub fn sign_token(options: &TokenOptions<'_>) -> String {
    let now_s = SystemClock.now().as_millis() / 1_000;
    // A token in the past must also have been issued in the past.
    let issued_at = now_s + options.ttl_s.min(0) - 60;
    let expires_at = now_s + options.ttl_s;
    let TokenOptions { subject, rights, id, secret, .. } = options;
    mayfly_tests::sign_token(secret, subject, *id, issued_at..expires_at, rights)
}

/// Revokes the tokens with this `jti` in Postgres.
pub async fn revoke_token(world: &World, id: &str) {
    let revoke = "SELECT FROM revoke_tokens_v1($1::text::uuid, $2, NULL, NULL, 3600000)";
    let new_id = Uuid::now_v7().to_string();
    world.postgres().await.execute(revoke, &[&new_id, &id]).await.expect("the token is revoked");
}
