//! Ending and freezing processes, from outside and without their help.

use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Sends a signal to a process. One that is gone meanwhile is what most signals want anyway.
///
/// # Panics
/// When the number cannot be a process id.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process id is small");
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// Processes that stand still until this is dropped.
#[must_use = "dropping it lets the processes go on"]
#[derive(Debug)]
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Freezes processes.
    pub fn processes(pids: impl IntoIterator<Item = u32>) -> Self {
        let pids: Vec<u32> = pids.into_iter().collect();
        for pid in &pids {
            send_signal(*pid, Signal::SIGSTOP);
        }
        Self(pids)
    }

    /// Freezes a process, then all its children: what stands still starts no more of them.
    ///
    /// # Panics
    /// When the children cannot be listed.
    pub fn family(pid: u32) -> Self {
        let mut frozen = Self::processes([pid]);
        let listed = Command::new("pgrep").arg("-P").arg(pid.to_string()).output();
        let listed = listed.expect("pgrep lists the children");
        let children = String::from_utf8_lossy(&listed.stdout);
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
