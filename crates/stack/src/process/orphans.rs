//! Processes that a killed supervisor left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The time limit for a process to exit before it is killed, and for a directory to become unused.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes a PID file: the PID, and the marker in the command line that identifies the process.
pub(crate) fn write_pid_file(path: &Path, pid: u32, marker: &str) -> std::io::Result<()> {
    fs::write(path, format!("{pid}\n{marker}\n"))
}

/// Stops the process that each PID file in `dir` names, if the command line of the process contains
/// the marker in the file. Then deletes the PID files.
pub(crate) async fn stop_orphans(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "pid"))
        .collect();
    join_all(files.iter().map(|file| stop_orphan(file))).await;
}

async fn stop_orphan(pid_file: &Path) {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    if let Some((pid, marker)) = parse_pid_file(&text) {
        stop_process(pid, marker).await;
    }
    let _missing = fs::remove_file(pid_file);
}

/// Stops the process with the PID on the first line of a lock file, if the command line of the
/// process contains `marker`.
pub(crate) async fn stop_lock_holder(lock: &Path, marker: &str) {
    let text = fs::read_to_string(lock).unwrap_or_default();
    if let Some((pid, _)) = parse_pid_file(&text) {
        stop_process(pid, marker).await;
    }
}

fn parse_pid_file(text: &str) -> Option<(i32, &str)> {
    let (pid, rest) = text.split_once('\n')?;
    let pid = pid.trim().parse().ok().filter(|pid| *pid > 1)?;
    Some((pid, rest.lines().next().filter(|marker| !marker.is_empty())?))
}

async fn stop_process(pid: i32, marker: &str) {
    if !matches_marker(pid, marker) {
        return;
    }
    tracing::info!(pid, marker, "stopping a process of an earlier supervisor");
    // For Postgres, SIGINT is a fast shutdown. The other processes also exit on SIGINT.
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let _exited = kill(Pid::from_raw(pid), signal);
        if wait_until(EXIT_TIMEOUT, || !matches_marker(pid, marker)).await {
            return;
        }
    }
}

/// Waits until no process has `dir` as its working directory, or until [`EXIT_TIMEOUT`] has
/// elapsed. The child processes of a killed Postgres need a moment to exit.
pub(crate) async fn wait_until_unused(dir: &Path) {
    wait_until(EXIT_TIMEOUT, || !is_in_use(dir)).await;
}

async fn wait_until(timeout: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
    true
}

/// Returns whether the command line of the process `pid` contains `marker`. The command line of a
/// zombie is empty.
fn matches_marker(pid: i32, marker: &str) -> bool {
    command_line(pid).is_some_and(|line| line.contains(marker))
}

#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(target_os = "linux")]
fn is_in_use(dir: &Path) -> bool {
    let (Ok(dir), Ok(processes)) = (dir.canonicalize(), fs::read_dir("/proc")) else {
        return false;
    };
    processes
        .flatten()
        .any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == dir))
}

#[cfg(not(target_os = "linux"))]
fn is_in_use(_dir: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_needs_a_pid_and_a_marker() {
        assert_eq!(parse_pid_file("77\n/a/b\n"), Some((77, "/a/b")));
        assert_eq!(parse_pid_file("77\n"), None, "a PID alone does not identify a process");
        assert_eq!(parse_pid_file("1\n/sbin/init\n"), None);
    }

    #[tokio::test]
    async fn unrelated_process_with_the_same_pid_is_not_stopped() {
        let mut other = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("redis.pid");
        write_pid_file(&file, other.id(), "/a/checkout/.mayfly/redis.conf").expect("written");
        stop_orphans(dir.path()).await;
        assert!(other.try_wait().expect("a child").is_none(), "the process was stopped");
        assert!(!file.exists());
        other.kill().and_then(|()| other.wait()).expect("stopped");
    }

    #[tokio::test]
    async fn orphan_is_stopped() {
        let mut orphan = std::process::Command::new("sleep").arg("61.5").spawn().expect("started");
        let pid = i32::try_from(orphan.id()).expect("a PID");
        // The command line of a new process is empty until the process executes its program.
        assert!(wait_until(EXIT_TIMEOUT, || matches_marker(pid, "61.5")).await);
        let dir = tempfile::tempdir().expect("a temporary directory");
        write_pid_file(&dir.path().join("redis.pid"), orphan.id(), "61.5").expect("written");
        stop_orphans(dir.path()).await;
        assert!(orphan.wait().is_ok_and(|status| !status.success()));
    }
}
