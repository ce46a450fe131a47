//! `mayfly token create`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use mayfly_auth::{NewToken, PATTERNS_MAX, Pattern, TokenRights, TokenSecret, sign};
use mayfly_core::Timestamp;
use mayfly_live_client::terminal::{escape, escape_json, print, print_err};
use mayfly_runtime::settings::{AuthSettings, TokenSecrets};
use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use crate::command_line::CreateToken;

/// Signs a token. Services that check issuers and audiences accept the first configured ones.
pub(super) fn create(settings: &AuthSettings, options: CreateToken) -> Result<ExitCode> {
    let secret = find_signing_secret(settings)?;
    let issued_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expires_at = issued_at.saturating_add(options.ttl.as_secs());
    let id = options.id.unwrap_or_else(|| Uuid::now_v7().to_string());
    let token = NewToken {
        subject: options.subject,
        id: Some(id.clone()),
        issued_at: i64::try_from(issued_at)?,
        expires_at: i64::try_from(expires_at)?,
        issuer: settings.issuer.first().cloned(),
        audience: settings.audience.first().cloned(),
        rights: TokenRights {
            publish: check_count("--publish", options.publish)?.into(),
            subscribe: check_count("--subscribe", options.subscribe)?.into(),
            feeds: options.feeds.into_iter().collect(),
            hosts: check_count("--host", options.hosts)?.into(),
            inbox: options.inbox,
            plays: options.plays,
            visits: check_count("--visit", options.visits)?.into(),
        },
    };
    let text = sign(&token, &secret).context("cannot sign the token")?;
    let expires_at = Timestamp::from_millis(token.expires_at.saturating_mul(1_000));
    if options.json {
        let subject = token.subject.as_str();
        let json = json!({"token": text, "jti": id, "sub": subject, "expires_at": expires_at});
        print(&escape_json(&json.to_string()));
    } else {
        print(&text);
        print_err(&format!("the token has the ID {} and expires at {expires_at}", escape(&id)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the first secret of the configured file.
fn find_signing_secret(settings: &AuthSettings) -> Result<TokenSecret> {
    let secrets = settings.secret_file.as_ref().map(TokenSecrets::as_slice);
    let secret = secrets.and_then(<[_]>::first).context(
        "auth.secret_file is empty: set MAYFLY_AUTH__SECRET_FILE to the path of a file that \
         contains a secret of at least 32 bytes, such as the output of `openssl rand -hex 32`; the \
         services must use the same file",
    )?;
    let parsed = TokenSecret::parse(secret.expose_secret());
    parsed.map_err(|rule| anyhow::anyhow!("the first secret of auth.secret_file {rule}"))
}

fn check_count(option: &str, patterns: Vec<Pattern>) -> Result<Vec<Pattern>> {
    ensure!(
        patterns.len() <= PATTERNS_MAX,
        "{option} can be repeated at most {PATTERNS_MAX} times"
    );
    Ok(patterns)
}
