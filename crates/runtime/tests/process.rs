//! The behavior of a service process: exit codes, signals and the log.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{SigHandler, Signal, kill, signal},
    unistd::Pid,
};

/// A running service and its standard output.
struct Running {
    child: Child,
    log: BufReader<ChildStdout>,
}

/// Returns the command of a program in `services`.
fn service_command(name: &str) -> Command {
    let mut command = Command::new(match name {
        "drains" => env!("CARGO_BIN_EXE_drains"),
        "ignores_shutdown" => env!("CARGO_BIN_EXE_ignores_shutdown"),
        "loses_a_task" => env!("CARGO_BIN_EXE_loses_a_task"),
        other => panic!("unknown program: {other}"),
    });
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run_to_exit(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = service_command("drains")
        .args(arguments)
        .envs(env.iter().copied())
        .output()
        .expect("the service exits");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn start(name: &str, env: &[(&str, &str)]) -> Running {
    start_command(service_command(name).envs(env.iter().copied()))
}

/// Lets child processes receive SIGHUP, even if the tests run under `nohup`.
#[expect(unsafe_code, reason = "the only way to change the disposition of a signal")]
fn reset_sighup() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.expect("a valid disposition");
}

fn start_command(command: &mut Command) -> Running {
    let mut child = command.spawn().expect("the service starts");
    let mut log = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    while !line.contains("started") {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).expect("a line"),
            0,
            "the service exited before it started"
        );
    }
    Running { child, log }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(process), signal).expect("the process exists");
    }

    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.log.read_line(&mut line).expect("a line"),
                0,
                "the service exited before {text:?}"
            );
        }
    }

    fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("the service exits").code(), rest)
    }
}

#[test]
fn check_config_accepts_a_valid_configuration() {
    assert_eq!(
        run_to_exit(&["--check-config"], &[]),
        (Some(0), "configuration is valid\n".into(), String::new())
    );
    let (code, version, _) = run_to_exit(&["--version"], &[]);
    assert_eq!((code, version.as_str()), (Some(0), "persist-worker 0.1.0\n"));
    assert_eq!(run_to_exit(&["--help"], &[]).0, Some(0));
    assert_eq!(run_to_exit(&["--nonsense"], &[]).0, Some(2));
}

#[test]
fn invalid_configuration_exits_with_78_and_one_line() {
    for arguments in [&[][..], &["--check-config"][..]] {
        let (code, stdout, stderr) = run_to_exit(arguments, &[("MAYFLY_QUEUE__DEPTH_MAX", "many")]);
        assert_eq!((code, stdout.as_str()), (Some(78), ""));
        assert_eq!(stderr, "MAYFLY_QUEUE__DEPTH_MAX=\"many\": must be a whole number above 0\n");
    }
    let (code, _, stderr) = run_to_exit(&[], &[("MAYFLY_CONFIG", "/nowhere/mayfly.toml")]);
    assert_eq!(code, Some(78));
    assert!(
        stderr.starts_with("MAYFLY_CONFIG=\"/nowhere/mayfly.toml\": cannot be read"),
        "{stderr}"
    );
}

#[test]
fn url_that_no_client_accepts_is_rejected_at_check_and_start() {
    for (name, url) in [
        ("REDIS_URL", "redis://:p@ss/w@h"),
        ("REDIS_URL", "redis://a,b"),
        ("REDIS_URL", "redis://h/notadb"),
        ("REDIS_URL", "redis://h:99999"),
        ("REDIS_URL", "redis://h?protocol=resp3"),
        ("REDIS_URL", "redis://h?pool_timeout=10"),
        ("REDIS_URL", "redis://h#x"),
        ("DATABASE_URL", "postgres://u:p@ss/w@h/db"),
        ("DATABASE_URL", "postgres://h:99999/db"),
        ("DATABASE_URL", "postgres://h/db?sslmode=verify-full"),
        ("DATABASE_URL", "postgres://h/db?pool_timeout=10"),
        ("AWS_ENDPOINT_URL", "http://h:99999"),
        ("MAYFLY_PUBLIC__LIST_URL", "https://h:99999"),
        ("MAYFLY_RISING__CHARTBEAT_URL", "https://a,b"),
        ("MAYFLY_HTTP__ALLOWED_ORIGINS", "https://h:99999"),
    ] {
        let (code, _, checked) = run_to_exit(&["--check-config"], &[(name, url)]);
        assert_eq!(code, Some(78), "{url}: {checked}");
        assert!(checked.starts_with(name) && checked.lines().count() == 1, "{url}: {checked}");
        let (code, stdout, started) = run_to_exit(&[], &[(name, url)]);
        assert_eq!((code, started, stdout), (Some(78), checked, String::new()), "{url}");
    }
}

#[test]
fn first_signal_drains_and_exits_with_0() {
    reset_sighup();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        let mut running = start("drains", &[]);
        running.signal(signal);
        running.wait_for("draining");
        assert_eq!(running.wait_for_exit().0, Some(0), "{signal}");
    }
}

#[test]
fn second_signal_exits_immediately() {
    let second = [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGQUIT, 131)];
    for (signal, code) in second {
        let mut running = start("ignores_shutdown", &[]);
        running.signal(Signal::SIGTERM);
        running.wait_for("draining");
        running.signal(signal);
        assert_eq!(running.wait_for_exit().0, Some(code));
    }
}

/// Terminals and session managers send SIGHUP in addition to another signal.
#[test]
fn hangup_does_not_end_a_drain() {
    reset_sighup();
    let mut running = start("ignores_shutdown", &[]);
    running.signal(Signal::SIGHUP);
    running.wait_for("draining");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait_for_exit().0, Some(143), "SIGTERM ends the drain");
}

#[test]
fn ignored_hangup_stays_ignored() {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\""]).arg(service_command("drains").get_program());
    shell.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = start_command(&mut shell);
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGTERM);
    running.wait_for("signal=15");
    assert_eq!(running.wait_for_exit().0, Some(0));
}

#[test]
fn closed_log_does_not_stop_a_service() {
    let Running { mut child, log } = start("drains", &[]);
    drop((log, child.stderr.take()));
    for signal in [Signal::SIGPIPE, Signal::SIGTERM] {
        let process = i32::try_from(child.id()).expect("a process id");
        kill(Pid::from_raw(process), signal).expect("it is running");
    }
    assert_eq!(child.wait().expect("the service exits").code(), Some(0));
    let mut check =
        service_command("drains").arg("--check-config").spawn().expect("the service starts");
    drop((check.stdout.take(), check.stderr.take()));
    assert_eq!(check.wait().expect("the service exits").code(), Some(0));
}

#[test]
fn shutdown_timeout_exits_with_1() {
    let short_timeout =
        [("MAYFLY_LIFECYCLE__SHUTDOWN_TIMEOUT", "100ms"), ("MAYFLY_HTTP__DRAIN_DELAY", "0s")];
    let running = start("ignores_shutdown", &short_timeout);
    running.signal(Signal::SIGTERM);
    let (code, log) = running.wait_for_exit();
    assert_eq!(code, Some(1));
    assert!(log.contains("did not complete within lifecycle.shutdown_timeout"), "{log}");
}

#[test]
fn panic_of_an_essential_task_exits_with_1() {
    let (code, log) = start("loses_a_task", &[]).wait_for_exit();
    assert_eq!(code, Some(1));
    assert!(log.contains("on purpose") && log.contains("the task `count plays` panicked"), "{log}");
}

#[test]
fn json_log_has_one_object_per_line_with_milliseconds() {
    let mut child = service_command("drains")
        .env("MAYFLY_LOG__FORMAT", "json")
        .spawn()
        .expect("the service starts");
    let mut log = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    let started: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(started["message"], "started");
    assert_eq!(started["service.name"], "persist-worker");
    assert_eq!(started["ports"], "admin=0.0.0.0:9090,[::]:9090");
    let time = started["timestamp"].as_str().expect("a time");
    assert!(time.len() == "2026-11-20T19:07:00.123Z".len() && time.ends_with('Z'), "{time}");
    let running = Running { child, log };
    running.signal(Signal::SIGTERM);
    let (code, rest) = running.wait_for_exit();
    assert_eq!(code, Some(0));
    for line in rest.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}
