//! `mayfly keys create`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use mayfly_auth::{KEY_HOSTS_MAX, KeyLimits, Names, PATTERNS_MAX, Pattern, RateText};
use mayfly_cold::{ColdStore, NewApiKey};
use mayfly_live_client::terminal::print_err;
use mayfly_runtime::Settings;
use uuid::Uuid;

use super::{copy_to_redis, generate_secret, print_secret};
use crate::command_line::{CreateKey, LimitedKind};

pub(super) async fn create(
    settings: &Settings,
    cold: &ColdStore,
    options: CreateKey,
) -> Result<ExitCode> {
    let secret = generate_secret(None)?;
    let new = NewApiKey {
        id: Uuid::now_v7(),
        key_id: secret.id(),
        hash: secret.hash(),
        name: options.name,
        scopes: options.scopes.into_iter().collect(),
        channels: to_names("--channel", options.channels, options.no_channels, PATTERNS_MAX)?,
        usernames: to_names("--username", options.usernames, false, PATTERNS_MAX)?,
        hosts: to_names("--host", options.hosts, options.no_hosts, KEY_HOSTS_MAX)?,
        limits: to_limits(&options.limits)?,
        lifetime: options.expires,
    };
    let created = if options.if_none {
        cold.api_keys().create_first(&new).await
    } else {
        cold.api_keys().create(&new).await.map(Some)
    };
    let Some(key) = created.context("cannot store the key in Postgres")? else {
        print_err(
            "no key was created, because a key exists; list keys with `mayfly keys list`, and create \
             another one with `mayfly keys create`",
        );
        return Ok(ExitCode::SUCCESS);
    };
    print_secret(&secret, &key, options.json);
    if let Err(error) = copy_to_redis(settings, &key, &[]).await {
        print_err(&format!(
            "cannot copy the key to Redis ({error:#}); the key becomes valid about a second after \
             a persist-worker can reach Redis and Postgres"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Converts the values of an option, which allow all names if there are none.
fn to_names(option: &str, patterns: Vec<Pattern>, is_none: bool, max: usize) -> Result<Names> {
    ensure!(patterns.len() <= max, "{option} can be repeated at most {max} times");
    Ok(match (is_none, patterns.is_empty()) {
        (true, _) => Names::none(),
        (false, true) => Names::All,
        (false, false) => patterns.into(),
    })
}

fn to_limits(limits: &[(LimitedKind, RateText)]) -> Result<KeyLimits> {
    let mut rates = KeyLimits::default();
    for (kind, rate) in limits {
        let (name, place) = match kind {
            LimitedKind::Messages => ("messages", &mut rates.messages),
            LimitedKind::Plays => ("plays", &mut rates.plays),
            LimitedKind::Visits => ("visits", &mut rates.visits),
        };
        ensure!(place.is_none(), "--limit {name}=… is given twice");
        *place = Some(*rate);
    }
    Ok(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_patterns_allow_all_names() {
        let pattern = || vec![Pattern::parse("a*").expect("a pattern")];
        let names = |patterns, is_none| to_names("--host", patterns, is_none, 1).expect("valid");
        assert_eq!(names(Vec::new(), false), Names::All);
        assert_eq!(names(Vec::new(), true), Names::none());
        assert_eq!(names(pattern(), false), Names::from(pattern()));
        let error = to_names("--host", [pattern(), pattern()].concat(), false, 1);
        assert_eq!(
            error.expect_err("too many").to_string(),
            "--host can be repeated at most 1 times"
        );
    }

    #[test]
    fn limit_can_be_given_once() {
        let rate = RateText::parse("1/day").expect("a rate");
        let (messages, plays) = ((LimitedKind::Messages, rate), (LimitedKind::Plays, rate));
        let expected =
            KeyLimits { messages: Some(rate), plays: Some(rate), ..KeyLimits::default() };
        assert_eq!(to_limits(&[messages, plays]).expect("valid"), expected);
        assert!(to_limits(&[messages, plays, messages]).is_err());
    }
}
