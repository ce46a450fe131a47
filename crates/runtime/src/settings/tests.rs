//! The layers and their failures, from outside.

use std::{collections::BTreeSet, time::Duration};

use secrecy::ExposeSecret;

use super::{Settings, env_example, layers};

fn load(file: Option<&str>, env: &[(&str, &str)]) -> Result<Settings, String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(file.map(|text| ("mayfly.toml", text)), env)
        .map_err(|error| error.to_string())
}

fn refusal(file: Option<&str>, env: &[(&str, &str)]) -> String {
    let line = load(file, env).map(|_| ()).expect_err("a refusal");
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

#[test]
fn the_default_file_has_every_key_of_the_structs_and_no_other() {
    let settings = load(None, &[]).expect("the defaults");
    assert_eq!(settings.http.connections_max, 25_000);
    assert_eq!(settings.queue.resume_bytes_max, 1 << 30);
    assert_eq!(settings.persist.rows_per_second_max, None);
    assert!(settings.ingest.write_by_get);
}

#[test]
fn every_key_of_the_default_file_has_a_comment() {
    let mut previous = "";
    for line in layers::DEFAULT.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(previous.starts_with('#'), "{line}");
        }
        previous = line;
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[http]\nkeep_alive = \"1m\"\nrequest_timeout = \"3s\"\n";
    let settings = load(Some(file), &[("MAYFLY_HTTP__REQUEST_TIMEOUT", "4s")]).expect("settings");
    assert_eq!(settings.http.keep_alive, Duration::from_secs(60));
    assert_eq!(settings.http.request_timeout, Duration::from_secs(4));
    assert_eq!(settings.http.body_timeout, Duration::from_secs(10));
}

#[test]
fn plain_names_fill_the_urls_and_ours_win_over_them() {
    let plain = [
        ("MAYFLY_REDIS__URL", "redis://ours"),
        ("REDIS_URL", "redis://plain"),
        ("DATABASE_URL", "postgres://db/x"),
        ("MESSY_BUCKET", "numbers"),
        ("MESSY_KEY", "of/today"),
    ];
    let settings = load(None, &plain).expect("settings");
    assert_eq!(settings.redis.url.expose_secret(), "redis://ours");
    assert_eq!(settings.postgres.url.expose_secret(), "postgres://db/x");
    assert_eq!(settings.stats.bucket, "numbers");
    assert_eq!(settings.stats.key, "of/today");
    let line = refusal(None, &[("REDIS_URL", "http://:hunter2@there")]);
    assert_eq!(line, "REDIS_URL=<redacted>: allowed is a URL with redis:// or rediss://");
}

#[test]
fn names_without_two_underscores_are_ignored() {
    let links = [
        ("MAYFLY_INGEST_API_PORT", "tcp://10.0.0.1:80"),
        ("MAYFLY_CONFIG", "x"),
        ("OTHER__KEY", "1"),
    ];
    assert!(load(None, &links).is_ok());
}

#[test]
fn an_unknown_name_is_refused_with_the_keys_there_are() {
    assert_eq!(
        refusal(None, &[("MAYFLY_LIST__CHATS", "on")]),
        "MAYFLY_LIST__CHATS=\"on\": unknown key; allowed in list are chats_get"
    );
    let line = refusal(None, &[("MAYFLY_NOWHERE__X", "1")]);
    assert!(
        line.starts_with("MAYFLY_NOWHERE__X=\"1\": unknown key; allowed sections are "),
        "{line}"
    );
    for name in [
        "MAYFLY___",
        "MAYFLY_HTTP__",
        "MAYFLY_HTTP__LISTEN__X",
        "MAYFLY_http__listen",
        "MAYFLY_HTTP.LISTEN__",
    ] {
        assert!(refusal(None, &[(name, "1")]).starts_with(name));
    }
}

#[test]
fn a_bad_value_is_refused_with_what_is_allowed() {
    let bad = [
        ("MAYFLY_HTTP__DRAIN_DELAY", "5", "such as 0s, 250ms"),
        ("MAYFLY_HTTP__REQUEST_TIMEOUT", "0s", "a duration above 0"),
        ("MAYFLY_HTTP__LISTEN", "8080", "an address with a port"),
        ("MAYFLY_HTTP__WORKERS", "on", "a whole number from 0"),
        ("MAYFLY_HTTP__WORKERS", "-1", "a whole number from 0"),
        ("MAYFLY_HTTP__CONNECTIONS_MAX", "0", "a whole number above 0"),
        ("MAYFLY_HTTP__ALLOWED_ORIGINS", "example.org", "a list of *"),
        ("MAYFLY_INGEST__BATCH_BYTES_MAX", "4", "such as 512B, 64KiB"),
        ("MAYFLY_INGEST__WRITE_BY_GET", "yes", "on or off"),
        ("MAYFLY_PERSIST__ROWS_PER_SECOND_MAX", "0", "off, or a whole number"),
        ("MAYFLY_LIMITS__MESSAGES", "100", "such as 10/second"),
        ("MAYFLY_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,lb", "a list of addresses"),
        ("MAYFLY_STATS__BUCKET", "A_B", "3 to 63 of"),
        ("MAYFLY_STATS__INTERVAL", "0s", "a duration above 0"),
        ("MAYFLY_LOG__LEVEL", "verbose", "error, warn, info"),
        ("MAYFLY_LOG__FORMAT", "xml", "pretty or json"),
        ("MAYFLY_REDIS__PREFIX", "{x}", "1 to 64 of"),
        ("MAYFLY_PUBLIC__LIST_URL", "list.example.org", "an absolute URL"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "1.5", "a whole number above 0"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "", "a whole number above 0"),
    ];
    for (name, value, allowed) in bad {
        let line = refusal(None, &[(name, value)]);
        assert!(line.starts_with(&format!("{name}=\"{value}\": allowed is ")), "{line}");
        assert!(line.contains(allowed), "{line}");
    }
}

#[test]
fn a_bad_file_is_refused_by_key_and_file() {
    assert_eq!(
        refusal(Some("[http]\nlisten = 80\n"), &[]),
        "http.listen=\"80\" in mayfly.toml: allowed is an address with a port such as 0.0.0.0:8080 or [::]:8080"
    );
    assert_eq!(
        refusal(Some("[list]\nchat = true\n"), &[]),
        "list.chat=\"true\" in mayfly.toml: unknown key; allowed in list are chats_get"
    );
    assert!(
        refusal(Some("[lists]\n"), &[])
            .starts_with("lists in mayfly.toml: unknown key; allowed sections are ")
    );
    assert!(
        refusal(Some("[http]\nlisten = \n"), &[]).starts_with("line 2 in mayfly.toml: no TOML: ")
    );
    assert!(
        refusal(Some("[redis]\nurl = \"x:hunter2@y\"\n"), &[])
            .starts_with("redis.url=<redacted> in mayfly.toml: ")
    );
}

#[test]
fn lists_come_from_the_file_and_the_environment() {
    let file = "[http]\nallowed_origins = [\"https://a.org\", \"http://localhost:*\"]\n";
    let origins = load(Some(file), &[]).expect("settings").http.allowed_origins;
    assert!(origins.allows("http://localhost:81"));
    let env = [("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://b.org, https://c.org")];
    let origins = load(Some(file), &env).expect("settings").http.allowed_origins;
    assert!(origins.allows("https://c.org") && !origins.allows("https://a.org"));
}

#[test]
fn values_that_are_dangerous_together_are_refused() {
    let line = refusal(None, &[("MAYFLY_QUEUE__CLAIM_AFTER", "15s")]);
    assert!(
        line.starts_with(
            "MAYFLY_QUEUE__CLAIM_AFTER=\"15s\": allowed is more than persist.statement_timeout"
        ),
        "{line}"
    );
    let line = refusal(None, &[("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "25s")]);
    assert!(line.starts_with("queue.claim_after=\"30s\" (the default): "), "{line}");
    assert!(
        refusal(None, &[("MAYFLY_HTTP__DRAIN_DELAY", "25s")])
            .starts_with("lifecycle.shutdown_timeout=")
    );
}

#[test]
fn what_is_printed_of_the_settings_shows_no_secret() {
    let env = [
        ("REDIS_URL", "redis://:hunter2@there"),
        ("DATABASE_URL", "postgres://me:hunter2@there/x"),
    ];
    let settings = load(None, &env).expect("settings");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_example_environment_has_every_key_and_changes_nothing() {
    let example = env_example();
    let variables: Vec<(&str, &str)> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    let defaults = load(None, &[]).expect("the defaults");
    let sourced = load(None, &variables).expect("the example");
    assert_eq!(format!("{sourced:?}"), format!("{defaults:?}"));

    let named: BTreeSet<String> = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    let known: BTreeSet<String> = layers::default_table()
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_table().into_iter().flat_map(toml::Table::keys);
            keys.map(move |key| layers::env_name(section, key))
        })
        .collect();
    assert_eq!(named, known);
}
