//! What a supervisor that was killed has left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a process may take to leave before it is killed, and a directory to be left.
const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// Writes down which process was started, and by what it is known: the mark stands in its command line, and in that of
/// no other program.
pub(crate) fn write_pid(path: &Path, pid: u32, mark: &str) -> std::io::Result<()> {
    fs::write(path, format!("{pid}\n{mark}\n"))
}

/// Ends every process that is written down in a directory and is provably the one that was meant.
pub(crate) async fn end_leftovers(pids: &Path) {
    let entries = fs::read_dir(pids).into_iter().flatten().flatten();
    let files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "pid"))
        .collect();
    join_all(files.iter().map(|file| end_written_down(file))).await;
}

async fn end_written_down(file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_default();
    if let Some((pid, mark)) = parse_pid(&text) {
        end_stranger(pid, mark).await;
    }
    let _absent = fs::remove_file(file);
}

/// Ends the process whose id stands in the first line of a lock, if `mark` stands in its command line.
pub(crate) async fn end_holder(lock: &Path, mark: &str) {
    let text = fs::read_to_string(lock).unwrap_or_default();
    if let Some((pid, _)) = parse_pid(&text) {
        end_stranger(pid, mark).await;
    }
}

fn parse_pid(text: &str) -> Option<(i32, &str)> {
    let (pid, rest) = text.split_once('\n')?;
    let pid = pid.trim().parse().ok().filter(|pid| *pid > 1)?;
    Some((pid, rest.lines().next().filter(|mark| !mark.is_empty())?))
}

async fn end_stranger(pid: i32, mark: &str) {
    if !is_marked(pid, mark) {
        return;
    }
    tracing::info!(pid, mark, "ending what an earlier supervisor left behind");
    // The interrupt is what Postgres takes for a fast shutdown; for all others it is as good as any.
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let _gone = kill(Pid::from_raw(pid), signal);
        if wait_until(LEAVE_WITHIN, || !is_marked(pid, mark)).await {
            return;
        }
    }
}

/// Waits until no process works in a directory: a killed Postgres leaves children that need a moment to notice.
pub(crate) async fn wait_until_left(dir: &Path) {
    wait_until(LEAVE_WITHIN, || !is_worked_in(dir)).await;
}

async fn wait_until(within: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// A process that has ended, but was not yet waited for, has no command line and so carries no mark.
fn is_marked(pid: i32, mark: &str) -> bool {
    command_line(pid).is_some_and(|line| line.contains(mark))
}

#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<String> {
    let listed = std::process::Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[cfg(target_os = "linux")]
fn is_worked_in(dir: &Path) -> bool {
    let (Ok(dir), Ok(processes)) = (dir.canonicalize(), fs::read_dir("/proc")) else {
        return false;
    };
    processes
        .flatten()
        .any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == dir))
}

#[cfg(not(target_os = "linux"))]
fn is_worked_in(_dir: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_mark() {
        assert_eq!(parse_pid("77\n/a/b\n"), Some((77, "/a/b")));
        assert_eq!(parse_pid("77\n"), None, "without a mark nothing is proven");
        assert_eq!(parse_pid("1\n/sbin/init\n"), None);
    }

    #[tokio::test]
    async fn a_process_that_only_has_the_same_number_is_left_alone() {
        let mut other = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("redis.pid");
        write_pid(&file, other.id(), "/a/checkout/.mayfly/redis.conf").expect("written");
        end_leftovers(dir.path()).await;
        assert!(other.try_wait().expect("ours").is_none(), "it was ended");
        assert!(!file.exists());
        other.kill().and_then(|()| other.wait()).expect("ended");
    }

    #[tokio::test]
    async fn a_process_that_was_left_behind_is_ended() {
        let mut left = std::process::Command::new("sleep").arg("61.5").spawn().expect("started");
        let pid = i32::try_from(left.id()).expect("a pid");
        // A process that has just begun shows no command line for an instant.
        assert!(wait_until(LEAVE_WITHIN, || is_marked(pid, "61.5")).await);
        let dir = tempfile::tempdir().expect("a directory");
        write_pid(&dir.path().join("redis.pid"), left.id(), "61.5").expect("written");
        end_leftovers(dir.path()).await;
        assert!(left.wait().is_ok_and(|status| !status.success()));
    }
}
