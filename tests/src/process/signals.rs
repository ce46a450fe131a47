//! Signals to processes.

use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Sends a signal to a process. A process that has exited in the meantime is not an error.
///
/// # Panics
/// If the number is not a valid process ID.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process ID fits in an i32");
    let _exited = kill(Pid::from_raw(pid), signal);
}

/// Processes that are stopped with SIGSTOP until this is dropped.
#[must_use = "dropping it resumes the processes"]
#[derive(Debug)]
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Stops processes.
    pub fn freeze(pids: impl IntoIterator<Item = u32>) -> Self {
        let pids: Vec<u32> = pids.into_iter().collect();
        for pid in &pids {
            send_signal(*pid, Signal::SIGSTOP);
        }
        Self(pids)
    }

    /// Stops a process and then its children; a stopped process cannot start new ones.
    ///
    /// # Panics
    /// If the children cannot be listed.
    pub fn freeze_tree(pid: u32) -> Self {
        let mut frozen = Self::freeze([pid]);
        let output = Command::new("pgrep").arg("-P").arg(pid.to_string()).output();
        let output = output.expect("pgrep lists the children");
        let children = String::from_utf8_lossy(&output.stdout);
        for child in children.lines().filter_map(|line| line.trim().parse().ok()) {
            send_signal(child, Signal::SIGSTOP);
            frozen.0.push(child);
        }
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in self.0.iter().rev() {
            send_signal(*pid, Signal::SIGCONT);
        }
    }
}
