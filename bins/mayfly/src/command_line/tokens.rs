//! The command line of `mayfly token`.

use std::time::Duration;

use clap::{Args, Subcommand};
use mayfly_auth::Pattern;
use mayfly_core::{Feed, Timestamp, Username, limits};

use super::keys::{host_pattern, pattern};
use super::lifetime::lifetime;

/// The subcommands of `mayfly token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Sign a token with the first secret of auth.secret_file, and print it
    Create(CreateToken),
    /// Revoke a token, or the tokens of a subject
    Revoke(RevokeTokens),
    /// List the revocations
    List(ListRevocations),
}

/// Options of `mayfly token create`. Everything that is not given is not allowed.
#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// Username of the caller (the claim sub)
    #[arg(long = "sub", value_name = "USERNAME", value_parser = username)]
    pub(crate) subject: Username,
    /// Channel or pattern of channels to publish on; can be repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) publish: Vec<Pattern>,
    /// Channel or pattern of channels to receive and read; can be repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) subscribe: Vec<Pattern>,
    /// Feed to receive and read: plays, rising, stats or pulse; can be repeated
    #[arg(long = "feed", value_name = "FEED", num_args = 1.., value_parser = Feed::parse)]
    pub(crate) feeds: Vec<Feed>,
    /// Host or pattern of hosts whose pages the caller may receive and read; can be repeated
    #[arg(long = "host", value_name = "PATTERN", num_args = 1.., value_parser = host_pattern)]
    pub(crate) hosts: Vec<Pattern>,
    /// Allow reading, taking and deleting the messages of the inbox
    #[arg(long)]
    pub(crate) inbox: bool,
    /// Allow reporting plays
    #[arg(long)]
    pub(crate) plays: bool,
    /// Host or pattern of hosts to report visits to; can be repeated
    #[arg(long = "visit", value_name = "PATTERN", num_args = 1.., value_parser = host_pattern)]
    pub(crate) visits: Vec<Pattern>,
    /// Lifetime of the token
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    pub(crate) ttl: Duration,
    /// ID of the token (the claim jti), by which it can be revoked (default: a new UUID)
    #[arg(long = "jti", value_name = "ID", value_parser = token_id)]
    pub(crate) id: Option<String>,
    /// Print the token, its ID and its expiry time as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mayfly token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeTokens {
    /// Revoke the token with this ID (the claim jti)
    #[arg(
        long = "jti", value_name = "ID", value_parser = token_id,
        required_unless_present = "subject", conflicts_with = "subject"
    )]
    pub(crate) id: Option<String>,
    /// Revoke the tokens of this username (the claim sub)
    #[arg(long = "sub", value_name = "USERNAME", value_parser = username)]
    pub(crate) subject: Option<Username>,
    /// With --sub: revoke only tokens that were issued before this time, such as
    /// 2026-11-20T19:07:00Z (default: now)
    #[arg(
        long, value_name = "TIME", value_parser = time, requires = "subject", conflicts_with = "id"
    )]
    pub(crate) issued_before: Option<Timestamp>,
    /// Longest lifetime of such tokens, such as 24h, after which the revocation is no longer needed
    /// (default: unlimited)
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(crate) token_ttl: Option<Duration>,
    /// Print the revocation as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mayfly token list`.
#[derive(Debug, Args)]
pub(crate) struct ListRevocations {
    /// Print the revocations as a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

fn username(text: &str) -> Result<Username, &'static str> {
    Username::parse(text)
}

fn token_id(text: &str) -> Result<String, &'static str> {
    let is_valid = (1..=limits::TOKEN_ID_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(char::is_control);
    is_valid
        .then(|| text.to_owned())
        .ok_or("expected 1 to 128 characters without control characters")
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse()
}
