//! The frame around a service, seen from outside: exit codes, signals, the log.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running example and its log.
struct Running {
    child: Child,
    log: BufReader<ChildStdout>,
}

/// Finds an example of this crate, which `cargo test` builds beside the tests.
fn example(name: &str) -> Command {
    let here = std::env::current_exe().expect("a path");
    let profile = here.parent().and_then(|deps| deps.parent()).expect("a directory of the profile");
    let path: PathBuf = profile.join("examples").join(name);
    assert!(path.exists(), "built by `cargo test` without a target named: {}", path.display());
    let mut command = Command::new(path);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        example("patient").args(arguments).envs(env.iter().copied()).output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn start(name: &str, env: &[(&str, &str)]) -> Running {
    let mut child = example(name).envs(env.iter().copied()).spawn().expect("a start");
    let mut log = BufReader::new(child.stdout.take().expect("a log"));
    let mut line = String::new();
    while !line.contains("started") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "ended before it started");
    }
    Running { child, log }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(process), signal).expect("a signal");
    }

    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).expect("a line"), 0, "ended before {text:?}");
        }
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("an end").code(), rest)
    }
}

#[test]
fn a_valid_configuration_is_said_to_be_valid() {
    assert_eq!(
        output(&["--check-config"], &[]),
        (Some(0), "configuration is valid\n".into(), String::new())
    );
    let (code, version, _) = output(&["--version"], &[]);
    assert_eq!((code, version.as_str()), (Some(0), "persist-worker 0.1.0\n"));
    assert_eq!(output(&["--help"], &[]).0, Some(0));
    assert_eq!(output(&["--nonsense"], &[]).0, Some(2));
}

#[test]
fn a_wrong_configuration_ends_with_78_and_one_line() {
    for arguments in [&[][..], &["--check-config"][..]] {
        let (code, stdout, stderr) = output(arguments, &[("MAYFLY_QUEUE__DEPTH_MAX", "many")]);
        assert_eq!((code, stdout.as_str()), (Some(78), ""));
        assert_eq!(stderr, "MAYFLY_QUEUE__DEPTH_MAX=\"many\": allowed is a whole number above 0\n");
    }
    let (code, _, stderr) = output(&[], &[("MAYFLY_CONFIG", "/nowhere/mayfly.toml")]);
    assert_eq!(code, Some(78));
    assert!(
        stderr.starts_with("MAYFLY_CONFIG=\"/nowhere/mayfly.toml\": cannot be read"),
        "{stderr}"
    );
}

#[test]
fn each_first_signal_drains_and_ends_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = start("patient", &[]);
        running.signal(signal);
        assert_eq!(running.end().0, Some(0));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut running = start("stubborn", &[]);
        running.signal(Signal::SIGTERM);
        running.wait_for("draining");
        running.signal(signal);
        assert_eq!(running.end().0, Some(code));
    }
}

#[test]
fn a_service_that_does_not_leave_in_time_ends_with_1() {
    let quick =
        [("MAYFLY_LIFECYCLE__SHUTDOWN_TIMEOUT", "100ms"), ("MAYFLY_HTTP__DRAIN_DELAY", "0s")];
    let running = start("stubborn", &quick);
    running.signal(Signal::SIGTERM);
    let (code, log) = running.end();
    assert_eq!(code, Some(1));
    assert!(log.contains("not done within lifecycle.shutdown_timeout"), "{log}");
}

#[test]
fn the_log_for_machines_is_one_object_per_line_in_milliseconds() {
    let mut child = example("patient").env("MAYFLY_LOG__FORMAT", "json").spawn().expect("a start");
    let mut log = BufReader::new(child.stdout.take().expect("a log"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    let started: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(started["message"], "started");
    assert_eq!(started["service.name"], "persist-worker");
    assert_eq!(started["ports"], "admin=0.0.0.0:9090");
    let time = started["timestamp"].as_str().expect("a time");
    assert!(time.len() == "2026-11-20T19:07:00.123Z".len() && time.ends_with('Z'), "{time}");
    let running = Running { child, log };
    running.signal(Signal::SIGTERM);
    let (code, rest) = running.end();
    assert_eq!(code, Some(0));
    for line in rest.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}
