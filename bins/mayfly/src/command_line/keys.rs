//! The command line of `mayfly keys`.

use std::time::Duration;

use clap::{Args, Subcommand};
use mayfly_auth::{Pattern, RateText, Scope};
use mayfly_core::limits;

use super::lifetime::{lifetime, lifetime_or_zero};

/// The subcommands of `mayfly keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Create a key, and print it; the key cannot be shown again
    Create(CreateKey),
    /// List the keys, without their secrets
    List(ListKeys),
    /// Show a key, without its secret; exit with 1 if no key or several keys match
    Show(SelectKey),
    /// Replace the secret of a key, and print the new key; exit with 1 if no key or several keys
    /// match
    Rotate(RotateKey),
    /// Revoke a key permanently; exit with 1 if no key or several keys match
    Revoke(SelectKey),
}

/// The largest rate that the table `api_keys` accepts.
const RATE_ITEMS_MAX: u32 = 999_999_999;

/// Options of `mayfly keys create`. A list of patterns that is not given allows all names.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the options are independent of each other")]
pub(crate) struct CreateKey {
    /// Display name, 1 to 64 characters
    #[arg(long, value_parser = name)]
    pub(crate) name: String,
    /// Scope of the key: publish, subscribe, read, take, or operate (all of them, without
    /// patterns); can be repeated
    #[arg(
        long = "scope", value_name = "SCOPE", required = true, num_args = 1..,
        value_parser = Scope::parse
    )]
    pub(crate) scopes: Vec<Scope>,
    /// Channel or pattern of channels, such as "chat.*"; can be repeated (default: all)
    #[arg(long = "channel", value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) channels: Vec<Pattern>,
    /// Allow no channels, for example for a key that reads only the pages of hosts
    #[arg(long, conflicts_with = "channels")]
    pub(crate) no_channels: bool,
    /// Username or pattern of usernames; can be repeated (default: all)
    #[arg(long = "username", value_name = "PATTERN", num_args = 1.., value_parser = pattern)]
    pub(crate) usernames: Vec<Pattern>,
    /// Host or pattern of hosts, such as "*.example.org"; can be repeated (default: all)
    #[arg(long = "host", value_name = "PATTERN", num_args = 1.., value_parser = host_pattern)]
    pub(crate) hosts: Vec<Pattern>,
    /// Allow no hosts
    #[arg(long, conflicts_with = "hosts")]
    pub(crate) no_hosts: bool,
    /// Rate limit, such as messages=100/day, for messages, plays or visits; can be repeated
    /// (default: no limit)
    #[arg(long = "limit", value_name = "KIND=RATE", num_args = 1.., value_parser = limit)]
    pub(crate) limits: Vec<(LimitedKind, RateText)>,
    /// Lifetime of the key, such as 90d (default: unlimited)
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
    /// Do nothing if any key exists, even a revoked one
    #[arg(long)]
    pub(crate) if_none: bool,
    /// Print the key and its rights as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A kind of item for which a key can have a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitedKind {
    Messages,
    Plays,
    Visits,
}

/// Options of `mayfly keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListKeys {
    /// Print the keys as a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// A key, selected by its ID or prefix.
#[derive(Debug, Args)]
pub(crate) struct SelectKey {
    /// The ID or the prefix of the key, as shown by `mayfly keys list`
    #[arg(value_name = "ID|PREFIX")]
    pub(crate) id_or_prefix: String,
    /// Print the key as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mayfly keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateKey {
    /// The ID or the prefix of the key, as shown by `mayfly keys list`
    #[arg(value_name = "ID|PREFIX")]
    pub(crate) id_or_prefix: String,
    /// How long the current secret stays valid; 0s rejects it immediately
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime_or_zero)]
    pub(crate) overlap: Duration,
    /// New lifetime of the key, such as 90d (default: the key keeps its expiry time)
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
    /// Print the new key and its rights as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_valid = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_valid
        .then(|| text.to_owned())
        .ok_or("expected 1 to 64 characters without control characters")
}

/// Parses a pattern of channels or usernames.
pub(super) fn pattern(text: &str) -> Result<Pattern, &'static str> {
    Pattern::parse(text)
}

/// Parses a pattern of hosts. Host names are case-insensitive.
pub(super) fn host_pattern(text: &str) -> Result<Pattern, &'static str> {
    let is_valid = text.len() <= limits::HOST_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:*".contains(&byte));
    if !is_valid {
        return Err("expected a host, or a pattern of hosts such as *.example.org");
    }
    Pattern::parse(text.to_ascii_lowercase())
}

fn limit(text: &str) -> Result<(LimitedKind, RateText), String> {
    let (kind, rate) = text.split_once('=').ok_or("expected a limit such as messages=100/day")?;
    let kind = match kind {
        "messages" => LimitedKind::Messages,
        "plays" => LimitedKind::Plays,
        "visits" => LimitedKind::Visits,
        _ => return Err("expected messages, plays or visits before the =".to_owned()),
    };
    let rate = RateText::parse(rate).map_err(|rule| format!("the rate {rule}"))?;
    if rate.items > RATE_ITEMS_MAX {
        return Err(format!("the rate must be at most {RATE_ITEMS_MAX} per unit"));
    }
    Ok((kind, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_kind_and_a_rate() {
        let rate = RateText::parse("100/day").expect("a rate");
        assert_eq!(limit("plays=100/day"), Ok((LimitedKind::Plays, rate)));
        assert!(limit("visits=999999999/second").is_ok());
        for wrong in [
            "",
            "plays",
            "plays=",
            "plays=100",
            "posts=100/day",
            "100/day",
            "visits=1000000000/second",
        ] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_pattern_is_in_lowercase() {
        let text = host_pattern("*.Example.ORG:8080").map(|pattern| pattern.as_str().to_owned());
        assert_eq!(text, Ok("*.example.org:8080".to_owned()));
        for wrong in ["", "a b", "a/b", "ä.org", &"a".repeat(254)] {
            assert!(host_pattern(wrong).is_err(), "{wrong}");
        }
    }
}
