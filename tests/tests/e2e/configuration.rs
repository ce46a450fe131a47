//! The configuration of the real binaries: what is wrong stops the start, with a line that helps.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use mayfly_stack::Service;
use mayfly_tests::{PATIENCE, bin_dir, eventually};

fn command(service: Service, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(bin_dir().join(service.name()));
    command.env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

fn check(service: Service, env: &[(&str, &str)]) -> Output {
    command(service, env).arg("--check-config").output().expect("it can be started")
}

/// What a service says that refuses to start: exactly one line.
#[track_caller]
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

#[test]
fn a_wrong_key_value_or_unit_is_exit_78_and_a_line_that_names_the_key_the_value_and_what_is_allowed()
 {
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
        ("REDIS_URL", "http://127.0.0.1", "redis://"),
        ("DATABASE_URL", "mysql://127.0.0.1/x", "postgres://"),
    ];
    for (name, value, allowed) in wrong {
        // One schema: what is wrong for one is wrong for all of them.
        for service in Service::ALL {
            let said = refusal(&check(service, &[(name, value)]));
            let key =
                name.strip_prefix("MAYFLY_").unwrap_or(name).replace("__", ".").to_lowercase();
            let names_key = said.contains(name) || said.contains(&key);
            // The address of a store may hold a password: it is said by its name alone.
            let is_secret = ["REDIS_URL", "DATABASE_URL"].contains(&name);
            let shows_value = said.contains(if is_secret { "<redacted>" } else { value });
            assert!(names_key && shows_value && said.contains(allowed), "{name}={value}: {said}");
        }
    }
    // Not only when it is asked to check.
    let output = command(Service::ListApi, &[("MAYFLY_HTTP__DRAIN_DELAY", "5")]).output();
    refusal(&output.expect("it can be started"));
}

#[test]
fn a_file_named_by_mayfly_config_is_read_and_the_environment_goes_over_it() {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.write_all(text.as_bytes()).expect("it can be written");
        file
    };
    let good = file("[http]\ndrain_delay = \"3s\"\n");
    let named = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    assert!(check(Service::ListApi, &[("MAYFLY_CONFIG", &named(&good))]).status.success());
    for (text, key, value) in [
        ("[http]\ndrain_delay = \"3\"\n", "drain_delay", "3"),
        ("[http]\ndrain_delays = \"3s\"\n", "drain_delays", "3s"),
        ("[http]\ndrain_delay = 3\n", "drain_delay", "3"),
    ] {
        let said = refusal(&check(Service::ListApi, &[("MAYFLY_CONFIG", &named(&file(text)))]));
        assert!(said.contains(key) && said.contains(value), "{said}");
    }
    refusal(&check(Service::ListApi, &[("MAYFLY_CONFIG", &named(&file("[http\n")))]));
    refusal(&check(Service::ListApi, &[("MAYFLY_CONFIG", "/nowhere/mayfly.toml")]));
    let bad = named(&file("[log]\nlevel = \"info\"\n"));
    let over = [("MAYFLY_CONFIG", named(&good)), ("MAYFLY_HTTP__DRAIN_DELAY", "4".into())];
    let over: Vec<_> = over.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(refusal(&check(Service::ListApi, &over)).contains("MAYFLY_HTTP__DRAIN_DELAY"));
    drop(bad);
}

#[tokio::test]
async fn a_mayfly_name_without_two_underscores_is_ignored() {
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
    let log = tempfile::NamedTempFile::new().expect("a file can be made");
    let mut process = command(Service::IngestApi, &links)
        .stdout(log.reopen().expect("it can be opened"))
        .spawn()
        .expect("it can be started");
    eventually(PATIENCE, "it is started", async || {
        let said = std::fs::read_to_string(log.path()).expect("the log is text");
        if said.contains("started") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(process.try_wait().expect("it is ours").is_none(), "it runs");
    process.kill().expect("it is ours");
    process.wait().expect("it ends");
}
