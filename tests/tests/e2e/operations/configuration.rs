//! Validation of the configuration by the real binaries.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use mayfly_stack::Service;
use mayfly_tests::{DEFAULT_TIMEOUT, bin_dir, eventually};

fn command(service: Service, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(bin_dir().join(service.name()));
    command.env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

fn check(service: Service, env: &[(&str, &str)]) -> Output {
    command(service, env).arg("--check-config").output().expect("the service starts")
}

/// Checks that a service rejected its configuration with an error of one line, and returns the
/// error.
#[track_caller]
fn expect_error(output: &Output) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    message
}

#[test]
fn invalid_setting_exits_with_78_and_names_key_value_and_allowed_values() {
    let wrong = [
        ("MAYFLY_LOG__LEVLE", "debug", "level"),
        ("MAYFLY_LOGS__LEVEL", "debug", "log"),
        ("MAYFLY_LOG__FORMAT", "yaml", "json"),
        ("MAYFLY_HTTP__DRAIN_DELAY", "5", "30s"),
        ("MAYFLY_HTTP__DRAIN_DELAY", "5 parsecs", "30s"),
        ("MAYFLY_HTTP__DRAIN_DELAY", "-5s", "30s"),
        ("MAYFLY_INGEST__BATCH_BYTES_MAX", "4194304", "KiB"),
        ("MAYFLY_INGEST__BATCH_BYTES_MAX", "4m", "KiB"),
        ("MAYFLY_INGEST__WRITE_BY_GET", "maybe", "on"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "many", "number above 0"),
        ("MAYFLY_QUEUE__DEPTH_MAX", "0", "number above 0"),
        ("MAYFLY_QUEUE__CLAIM_AFTER", "1s", "statement_timeout"),
        ("MAYFLY_HTTP__LISTEN", "everywhere", ":"),
        ("MAYFLY_PUBLIC__LIST_URL", "ftp://example.org", "http"),
        ("MAYFLY_AUTH__MODE", "closed", "open"),
        ("MAYFLY_AUTH__ANONYMOUS", "read,write", "operate"),
        ("MAYFLY_AUTH__SECRET_FILE", "/nowhere/secrets", "32 to 1024 bytes"),
        ("MAYFLY_AUTH__JWKS_FILE", "/nowhere/jwks.json", "JWK Set"),
        ("MAYFLY_LIMITS__AUTH_FAILURES", "60", "60/minute"),
        ("REDIS_URL", "http://127.0.0.1", "redis://"),
        ("DATABASE_URL", "mysql://127.0.0.1/x", "postgres://"),
    ];
    for (name, value, allowed) in wrong {
        // All services share one schema.
        for service in Service::ALL {
            let message = expect_error(&check(service, &[(name, value)]));
            let key =
                name.strip_prefix("MAYFLY_").unwrap_or(name).replace("__", ".").to_lowercase();
            let names_key = message.contains(name) || message.contains(&key);
            // The URL of a store can contain a password and is not printed.
            let is_secret = ["REDIS_URL", "DATABASE_URL"].contains(&name);
            let shows_value = message.contains(if is_secret { "<redacted>" } else { value });
            assert!(
                names_key && shows_value && message.contains(allowed),
                "{name}={value}: {message}"
            );
        }
    }
    // Without --check-config, the service also rejects invalid settings.
    let output = command(Service::ListApi, &[("MAYFLY_HTTP__DRAIN_DELAY", "5")]).output();
    expect_error(&output.expect("the service starts"));
}

#[test]
fn environment_overrides_the_file_of_mayfly_config() {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().expect("the file is created");
        file.write_all(text.as_bytes()).expect("the file is written");
        file
    };
    let good = file("[http]\ndrain_delay = \"3s\"\n");
    let path_of = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    assert!(check(Service::ListApi, &[("MAYFLY_CONFIG", &path_of(&good))]).status.success());
    for (text, key, value) in [
        ("[http]\ndrain_delay = \"3\"\n", "drain_delay", "3"),
        ("[http]\ndrain_delays = \"3s\"\n", "drain_delays", "3s"),
        ("[http]\ndrain_delay = 3\n", "drain_delay", "3"),
    ] {
        let message =
            expect_error(&check(Service::ListApi, &[("MAYFLY_CONFIG", &path_of(&file(text)))]));
        assert!(message.contains(key) && message.contains(value), "{message}");
    }
    expect_error(&check(Service::ListApi, &[("MAYFLY_CONFIG", &path_of(&file("[http\n")))]));
    expect_error(&check(Service::ListApi, &[("MAYFLY_CONFIG", "/nowhere/mayfly.toml")]));
    let bad = path_of(&file("[log]\nlevel = \"info\"\n"));
    let override_settings =
        [("MAYFLY_CONFIG", path_of(&good)), ("MAYFLY_HTTP__DRAIN_DELAY", "4".into())];
    let override_settings: Vec<_> =
        override_settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(
        expect_error(&check(Service::ListApi, &override_settings))
            .contains("MAYFLY_HTTP__DRAIN_DELAY")
    );
    drop(bad);
}

#[tokio::test]
async fn variable_without_double_underscore_is_ignored() {
    let links = [
        ("MAYFLY_INGEST_API_PORT", "tcp://10.0.0.1:80"),
        ("MAYFLY_INGEST_API_SERVICE_HOST", "10.0.0.1"),
        ("MAYFLY_PORT_BASE", "many"),
        ("MAYFLY_HTTP__LISTEN", "127.0.0.1:0"),
        ("MAYFLY_ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    for service in Service::ALL {
        let checked = check(service, &links);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    let log = tempfile::NamedTempFile::new().expect("the file is created");
    let mut process = command(Service::IngestApi, &links)
        .stdout(log.reopen().expect("the file is opened"))
        .spawn()
        .expect("the service starts");
    eventually(DEFAULT_TIMEOUT, "the service has started", async || {
        let message = std::fs::read_to_string(log.path()).expect("valid UTF-8");
        if message.contains("started") { Ok(()) } else { Err(message) }
    })
    .await;
    assert!(process.try_wait().expect("a child process").is_none(), "the process is running");
    process.kill().expect("a child process");
    process.wait().expect("a child process");
}
