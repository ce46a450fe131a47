//! Tests for loading settings from layers, and for the error messages.

use std::{collections::BTreeSet, time::Duration};

use secrecy::ExposeSecret;

use super::{AuthMode, Settings, layers, render_env_example};
use crate::Service;

/// A certificate of a certificate authority, valid for 100 years.
pub(super) const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUG2o5/5U8ivsKt7He/bT3BhpwMocwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEzMDAyNTAyOFoYDzIxMjYxMTA2
MDI1MDI4WjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATIXex85mHQcyTk+ate+/NM9TJ5wwQK6tRwbtwGU5eE/JTOvApWRj4p
YBkAt27TnuGu8fWzunFKmuMO1MI1qqHHo1MwUTAdBgNVHQ4EFgQU8x1pcS+2yOiX
fJXajfgLaorichMwHwYDVR0jBBgwFoAU8x1pcS+2yOiXfJXajfgLaorichMwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA2u+H/MlwtYBx5Fe4zS+H
YgGnL/mCxNW/t4wzBu7Xe18CIQCRzjty404QSQVnCQv1xR0P5I576sVkPAovaA9V
EFqyVg==
-----END CERTIFICATE-----
";

fn load(file: Option<&str>, env: &[(&str, &str)]) -> Result<Settings, String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(file.map(|text| ("mayfly.toml", text)), env)
        .map_err(|error| error.to_string())
}

fn load_error(file: Option<&str>, env: &[(&str, &str)]) -> String {
    let line = load(file, env).map(|_| ()).expect_err("invalid settings");
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

#[test]
fn default_file_has_exactly_the_keys_of_the_structs() {
    let settings = load(None, &[]).expect("the defaults");
    assert_eq!(settings.http.connections_max, 25_000);
    assert_eq!(settings.queue.resume_bytes_max, 1 << 30);
    assert_eq!(settings.persist.rows_per_second_max, None);
    assert!(!settings.ingest.write_by_get && !settings.list.chats_get);
    assert_eq!(settings.limits.visits.map(|rate| rate.items), Some(600));
    assert_eq!(settings.auth.mode, AuthMode::Keys);
    assert!(settings.auth.anonymous.is_empty());
}

/// The default idle timeout of common load balancers is 60 s.
#[test]
fn idle_connections_are_kept_longer_than_by_load_balancers() {
    let settings = load(None, &[]).expect("the defaults");
    assert_eq!(settings.http.keep_alive, Duration::from_secs(75));
}

#[test]
fn every_key_of_default_file_has_a_comment() {
    let mut previous = "";
    for line in layers::DEFAULT.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(previous.starts_with('#'), "{line}");
        }
        previous = line;
    }
}

#[test]
fn environment_overrides_file_and_file_overrides_default() {
    let file = "[http]\nkeep_alive = \"1m\"\nrequest_timeout = \"3s\"\n";
    let settings = load(Some(file), &[("MAYFLY_HTTP__REQUEST_TIMEOUT", "4s")]).expect("settings");
    assert_eq!(settings.http.keep_alive, Duration::from_secs(60));
    assert_eq!(settings.http.request_timeout, Duration::from_secs(4));
    assert_eq!(settings.http.body_timeout, Duration::from_secs(10));
}

#[test]
fn aliases_set_keys_and_mayfly_names_override_them() {
    let aliases = [
        ("MAYFLY_REDIS__URL", "redis://ours"),
        ("REDIS_URL", "redis://plain"),
        ("DATABASE_URL", "postgres://db/x"),
        ("MESSY_BUCKET", "numbers"),
        ("MESSY_KEY", "of/today"),
    ];
    let settings = load(None, &aliases).expect("settings");
    assert_eq!(settings.redis.url.expose_secret(), "redis://ours");
    assert_eq!(settings.postgres.url.expose_secret(), "postgres://db/x");
    assert_eq!(settings.stats.bucket, "numbers");
    assert_eq!(settings.stats.key, "of/today");
    let line = load_error(None, &[("REDIS_URL", "http://:hunter2@there")]);
    assert_eq!(line, "REDIS_URL=<redacted>: must be a URL that starts with redis:// or rediss://");
}

#[test]
fn secret_is_read_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("redis-url");
    std::fs::write(&path, "redis://:hunter2@there\n").expect("a file");
    let path = path.to_str().expect("valid UTF-8");
    let settings = load(None, &[("MAYFLY_REDIS__URL_FILE", path), ("REDIS_URL", "redis://plain")]);
    let settings = settings.expect("settings");
    assert_eq!(settings.redis.url.expose_secret(), "redis://:hunter2@there");

    std::fs::write(path, "redis://:hunter2@a,b").expect("a file");
    let line = load_error(None, &[("MAYFLY_REDIS__URL_FILE", path)]);
    assert!(line.starts_with("MAYFLY_REDIS__URL_FILE=<redacted>: must be a URL"), "{line}");
    let both = [("MAYFLY_REDIS__URL_FILE", path), ("MAYFLY_REDIS__URL", "redis://x")];
    assert!(load_error(None, &both).contains("must not be set together with"), "both");
    let line = load_error(None, &[("MAYFLY_POSTGRES__URL_FILE", "/nowhere/url")]);
    assert!(line.starts_with("MAYFLY_POSTGRES__URL_FILE=\"/nowhere/url\": must be"), "{line}");
    assert!(load_error(None, &[("MAYFLY_REDIS__PREFIX_FILE", path)]).contains("unknown key"));
}

#[test]
fn invalid_s3_endpoint_is_rejected() {
    let line = load_error(None, &[("AWS_ENDPOINT_URL", "localhost:9000")]);
    assert!(line.starts_with("AWS_ENDPOINT_URL=<redacted>: must be an absolute URL"), "{line}");
    assert!(load(None, &[("AWS_ENDPOINT_URL", "http://localhost:9000")]).is_ok());
}

#[test]
fn ports_of_a_service_must_differ() {
    let same = [("MAYFLY_ADMIN__LISTEN", "127.0.0.1:8080")];
    let settings = load(None, &same).expect("settings");
    assert!(settings.validate_for(Service::IngestApi).is_err(), "*:8080 includes 127.0.0.1:8080");
    assert!(settings.validate_for(Service::PersistWorker).is_ok(), "no public port");
    let free = [("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0"), ("MAYFLY_HTTP__LISTEN", "127.0.0.1:0")];
    assert!(load(None, &free).expect("settings").validate_for(Service::IngestApi).is_ok());
}

#[test]
fn value_that_would_exhaust_a_process_at_its_start_is_rejected() {
    for name in
        ["MAYFLY_POSTGRES__POOL_SIZE_MAX", "MAYFLY_INGEST__WAITING_MAX", "MAYFLY_PERSIST__WRITERS"]
    {
        let line = load_error(None, &[(name, "18446744073709551615")]);
        assert!(line.contains("must be a whole number above 0, at most"), "{line}");
    }
}

#[test]
fn pool_that_the_batchers_would_use_up_is_rejected() {
    for (size, is_valid) in [("7", false), ("8", true), ("10000", true), ("10001", false)] {
        let env = [("MAYFLY_REDIS__POOL_SIZE_MAX", size)];
        if is_valid {
            assert!(load(None, &env).is_ok(), "{size}");
        } else {
            let line = load_error(None, &env);
            assert!(line.contains("must be a whole number from 8 to 10000"), "{line}");
        }
    }
}

#[test]
fn redis_ca_certificates_are_read_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, CERTIFICATE).expect("a file");
    let path = path.to_str().expect("valid UTF-8");
    let tls = [("REDIS_URL", "rediss://there"), ("MAYFLY_REDIS__CA_FILE", path)];
    let settings = load(None, &tls).expect("settings");
    assert_eq!(settings.redis.ca_file.expect("certificates").pem(), CERTIFICATE.as_bytes());
    let line = load_error(None, &[("MAYFLY_REDIS__CA_FILE", path)]);
    assert!(line.ends_with("must be empty unless redis.url starts with rediss://"), "{line}");
    let missing = [("REDIS_URL", "rediss://there"), ("MAYFLY_REDIS__CA_FILE", "/nowhere/ca.pem")];
    assert!(load_error(None, &missing).contains("it cannot be read"));
}

#[test]
fn token_secrets_are_read_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secrets");
    let (old, new) = ("hunter2-".repeat(4), "hunter3-".repeat(8));
    std::fs::write(&path, format!("{new}\n{old}\n")).expect("a file");
    let path = path.to_str().expect("valid UTF-8");
    let settings = load(None, &[("MAYFLY_AUTH__SECRET_FILE", path)]).expect("settings");
    assert!(!format!("{settings:?}").contains("hunter"));
    let secrets = settings.auth.secret_file.expect("secrets");
    let texts: Vec<_> = secrets.as_slice().iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(texts, [&new, &old]);

    std::fs::write(path, "hunter2").expect("a file");
    let line = load_error(None, &[("MAYFLY_AUTH__SECRET_FILE", path)]);
    let start = format!("MAYFLY_AUTH__SECRET_FILE=\"{path}\": must be empty, or the path of");
    assert!(line.starts_with(&start) && line.ends_with("line 1 has 7 bytes"), "{line}");
    let line = load_error(Some("[auth]\nsecret_file = \"/nowhere/secrets\"\n"), &[]);
    assert!(line.starts_with("auth.secret_file=\"/nowhere/secrets\" in mayfly.toml: "), "{line}");
    assert!(line.contains("it cannot be read"), "{line}");
}

#[test]
fn passwords_are_inserted_into_the_urls() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("password");
    std::fs::write(&path, "p@s/s %+é\n").expect("a file");
    let path = path.to_str().expect("valid UTF-8");
    let encoded = "p%40s%2Fs%20%25%2B%C3%A9";
    for (redis, expected) in [
        ("redis://h", format!("redis://:{encoded}@h")),
        ("rediss://me@h:1/2", format!("rediss://me:{encoded}@h:1/2")),
        ("redis://me:@h", format!("redis://me:{encoded}@h")),
    ] {
        let env = [("REDIS_URL", redis), ("MAYFLY_REDIS__PASSWORD_FILE", path)];
        let settings = load(None, &env).expect(redis);
        assert_eq!(settings.redis.url.expose_secret(), expected);
        assert!(settings.list_secrets().contains(&"p@s/s %+é".to_owned()), "{redis}");
        assert!(!format!("{settings:?}").contains(encoded));
    }
    for (postgres, expected) in [
        ("postgres://me@h/x", "postgres://me@h/x?password=1"),
        ("postgres://h/x?sslmode=require", "postgres://h/x?sslmode=require&password=1"),
    ] {
        let env = [("DATABASE_URL", postgres), ("MAYFLY_POSTGRES__PASSWORD", "1")];
        let settings = load(None, &env).expect(postgres);
        assert_eq!(settings.postgres.url.expose_secret(), expected);
    }
    let file = "[redis]\nurl = \"redis://h\"\npassword = \"x\"\n[postgres]\npassword = \"\"\n";
    let settings = load(Some(file), &[]).expect("settings");
    assert_eq!(settings.redis.url.expose_secret(), "redis://:x@h");
    assert_eq!(settings.postgres.url.expose_secret(), "postgres://127.0.0.1/mayfly");

    let both = [("REDIS_URL", "redis://:hunter2@h"), ("MAYFLY_REDIS__PASSWORD", "hunter3")];
    assert_eq!(
        load_error(None, &both),
        "MAYFLY_REDIS__PASSWORD=<redacted>: must be empty if the connection URL contains a password"
    );
    let line = load_error(Some("[postgres]\npassword = 12345678\n"), &[]);
    assert_eq!(line, "postgres.password=<redacted> in mayfly.toml: must be a string");
}

/// An operator can mistake a variable for the path of a secret for the secret, or misspell a name.
#[test]
fn secret_in_the_wrong_variable_is_not_shown() {
    for name in [
        "MAYFLY_AUTH__SECRET_FILE",
        "MAYFLY_REDIS__URL_FILE",
        "MAYFLY_POSTGRES__URL_FILE",
        "MAYFLY_REDIS__PASSWORDS",
        "MAYFLY_REDIS__PASS",
        "MAYFLY_POSTGRES__PWD",
        "MAYFLY_POSTGRES__DSN",
        "MAYFLY_AUTH__SECRETS",
        "MAYFLY_STATS__CREDENTIALS",
    ] {
        for value in ["hunter2", "redis://:hunter2@there"] {
            let line = load_error(None, &[(name, value)]);
            assert!(line.starts_with(&format!("{name}=<redacted>: ")), "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
    let path = "secrets/hunter2";
    let line = load_error(None, &[("MAYFLY_AUTH__SECRET_FILE", path)]);
    assert!(line.contains(path), "a path is shown: {line}");
    // The content of a file, unlike its path, is always a secret.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("url");
    std::fs::write(&file, "localhost/hunter2").expect("a file");
    let line = load_error(None, &[("MAYFLY_REDIS__URL_FILE", file.to_str().expect("UTF-8"))]);
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn passwords_and_token_secrets_are_listed_for_redaction() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secrets");
    let secret = "s".repeat(32);
    std::fs::write(&path, &secret).expect("a file");
    let env = [
        ("REDIS_URL", "redis://:hunter2@there"),
        ("DATABASE_URL", "postgres://me:hunter%33@there/x"),
        ("MAYFLY_AUTH__SECRET_FILE", path.to_str().expect("valid UTF-8")),
    ];
    let secrets = load(None, &env).expect("settings").list_secrets();
    for expected in ["hunter2", "hunter%33", "hunter3", &secret] {
        assert!(secrets.iter().any(|one| one == expected), "{expected}");
    }
}

#[test]
fn public_keys_have_one_source() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jwks.json");
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{x}"}}]}}"#);
    std::fs::write(&path, &jwks).expect("a file");
    let path = path.to_str().expect("valid UTF-8");
    let settings = load(None, &[("MAYFLY_AUTH__JWKS_FILE", path)]).expect("settings");
    let file = settings.auth.jwks_file.expect("a file");
    assert_eq!((file.path(), file.content()), (path, jwks.as_bytes()));

    let url = ("MAYFLY_AUTH__JWKS_URL", "https://id.example.org/keys");
    let line = load_error(None, &[("MAYFLY_AUTH__JWKS_FILE", path), url]);
    assert!(line.ends_with("must be empty if auth.jwks_file is set"), "{line}");
    std::fs::write(path, "{}").expect("a file");
    let line = load_error(None, &[("MAYFLY_AUTH__JWKS_FILE", path)]);
    assert!(line.ends_with("the file has no array `keys`"), "{line}");
    let line = load_error(None, &[("MAYFLY_AUTH__JWKS_URL", "http://id.example.org/keys")]);
    assert!(line.starts_with("MAYFLY_AUTH__JWKS_URL=<redacted>: must be empty, or"), "{line}");
}

#[test]
fn lists_of_scopes_and_audiences_are_read() {
    let env = [("MAYFLY_AUTH__ANONYMOUS", "read, subscribe"), ("MAYFLY_AUTH__AUDIENCE", "a b,c")];
    let auth = load(Some("[auth]\nmode = \"open\"\n"), &env).expect("settings").auth;
    assert_eq!((auth.mode, auth.anonymous), (AuthMode::Open, vec!["read", "subscribe"]));
    assert_eq!(auth.audience, ["a b", "c"]);
}

#[test]
fn name_without_two_underscores_is_ignored() {
    let links = [
        ("MAYFLY_INGEST_API_PORT", "tcp://10.0.0.1:80"),
        ("MAYFLY_CONFIG", "x"),
        ("OTHER__KEY", "1"),
    ];
    assert!(load(None, &links).is_ok());
}

#[test]
fn unknown_name_is_rejected_with_the_valid_keys() {
    assert_eq!(
        load_error(None, &[("MAYFLY_LIST__CHATS", "on")]),
        "MAYFLY_LIST__CHATS=\"on\": unknown key; the keys of [list] are chats_get, inboxes_max"
    );
    let line = load_error(None, &[("MAYFLY_NOWHERE__X", "1")]);
    assert!(
        line.starts_with("MAYFLY_NOWHERE__X=\"1\": unknown section; the sections are "),
        "{line}"
    );
    for name in [
        "MAYFLY___",
        "MAYFLY_HTTP__",
        "MAYFLY_HTTP__LISTEN__X",
        "MAYFLY_http__listen",
        "MAYFLY_HTTP.LISTEN__",
    ] {
        assert!(load_error(None, &[(name, "1")]).starts_with(name));
    }
}

#[test]
fn invalid_value_is_rejected_with_the_valid_values() {
    let invalid = [
        ("MAYFLY_HTTP__DRAIN_DELAY", "5", "such as 0s, 250ms"),
        ("MAYFLY_HTTP__REQUEST_TIMEOUT", "0s", "a duration above 0"),
        ("MAYFLY_HTTP__LISTEN", "8080", "an address with a port"),
        ("MAYFLY_HTTP__WORKERS", "on", "a whole number from 0"),
        ("MAYFLY_HTTP__WORKERS", "-1", "a whole number from 0"),
        ("MAYFLY_HTTP__CONNECTIONS_MAX", "0", "a whole number above 0"),
        ("MAYFLY_HTTP__ALLOWED_ORIGINS", "example.org", "a list of origins"),
        ("MAYFLY_HTTP__ALLOWED_HOSTS", "example.org:80", "a list of hosts"),
        ("MAYFLY_INGEST__BATCH_BYTES_MAX", "4", "such as 512B, 64KiB"),
        ("MAYFLY_INGEST__WRITE_BY_GET", "yes", "on or off"),
        ("MAYFLY_PERSIST__ROWS_PER_SECOND_MAX", "0", "off, or a whole number"),
        ("MAYFLY_LIMITS__MESSAGES", "100", "such as 10/second"),
        ("MAYFLY_LIMITS__AUTH_FAILURES", "60", "such as 10/second"),
        ("MAYFLY_AUTH__MODE", "closed", "keys or open"),
        ("MAYFLY_AUTH__ANONYMOUS", "read,write", "the scopes are publish, subscribe"),
        ("MAYFLY_AUTH__ISSUER", "a,,b", "names of 1 to 256 characters"),
        ("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "0", "off, or a whole number"),
        ("MAYFLY_FANOUT__CLIENT_FRAMES", "50/week", "such as 10/second"),
        ("MAYFLY_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,lb", "a list of addresses"),
        ("MAYFLY_STATS__BUCKET", "A_B", "3 to 63 characters of"),
        ("MAYFLY_STATS__INTERVAL", "0s", "a duration above 0"),
        ("MAYFLY_LOG__LEVEL", "verbose", "error, warn, info"),
        ("MAYFLY_LOG__FORMAT", "xml", "pretty or json"),
        ("MAYFLY_REDIS__PREFIX", "{x}", "1 to 64 characters of"),
        ("MAYFLY_PUBLIC__LIST_URL", "list.example.org", "an absolute URL"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "1.5", "a whole number above 0"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "", "a whole number above 0"),
    ];
    for (name, value, allowed) in invalid {
        let line = load_error(None, &[(name, value)]);
        assert!(line.starts_with(&format!("{name}=\"{value}\": must be ")), "{line}");
        assert!(line.contains(allowed), "{line}");
    }
}

#[test]
fn invalid_file_is_rejected_with_key_and_file() {
    assert_eq!(
        load_error(Some("[http]\nlisten = 80\n"), &[]),
        "http.listen=\"80\" in mayfly.toml: must be an address with a port, such as *:8080, \
         localhost:8080, 0.0.0.0:8080 or [::]:8080"
    );
    assert_eq!(
        load_error(Some("[list]\nchat = true\n"), &[]),
        "list.chat=\"true\" in mayfly.toml: unknown key; the keys of [list] are chats_get, inboxes_max"
    );
    assert!(
        load_error(Some("[lists]\n"), &[])
            .starts_with("lists in mayfly.toml: unknown section; the sections are ")
    );
    assert_eq!(
        load_error(Some("list = 1\n"), &[]),
        "list in mayfly.toml: must be a section, [list], with its keys"
    );
    assert!(
        load_error(Some("[http]\nlisten = \n"), &[])
            .starts_with("line 2 in mayfly.toml: invalid TOML: ")
    );
    assert!(
        load_error(Some("[redis]\nurl = \"x:hunter2@y\"\n"), &[])
            .starts_with("redis.url=<redacted> in mayfly.toml: ")
    );
}

#[test]
fn lists_are_read_from_file_and_environment() {
    let file = "[http]\nallowed_origins = [\"https://a.org\", \"http://localhost:*\"]\n";
    let origins = load(Some(file), &[]).expect("settings").http.allowed_origins;
    assert!(origins.allows("http://localhost:81"));
    let env = [("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://b.org, https://c.org")];
    let origins = load(Some(file), &env).expect("settings").http.allowed_origins;
    assert!(origins.allows("https://c.org") && !origins.allows("https://a.org"));
}

#[test]
fn unsafe_combination_of_values_is_rejected() {
    let line = load_error(None, &[("MAYFLY_QUEUE__CLAIM_AFTER", "15s")]);
    assert!(
        line.starts_with(
            "MAYFLY_QUEUE__CLAIM_AFTER=\"15s\": must be longer than persist.statement_timeout"
        ),
        "{line}"
    );
    let line = load_error(None, &[("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "25s")]);
    assert!(line.starts_with("queue.claim_after=\"30s\" (the default): "), "{line}");
    assert!(
        load_error(None, &[("MAYFLY_HTTP__DRAIN_DELAY", "25s")])
            .starts_with("lifecycle.shutdown_timeout=")
    );
}

#[test]
fn debug_output_contains_no_secret() {
    let env = [
        ("REDIS_URL", "redis://:hunter2@there"),
        ("DATABASE_URL", "postgres://me:hunter2@there/x"),
    ];
    let settings = load(None, &env).expect("settings");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn example_environment_has_every_key_with_its_default() {
    let example = render_env_example();
    let variables: Vec<(&str, &str)> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"] {
        assert!(example.contains(&format!("\n#{name}=\n")), "{name}");
    }
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
