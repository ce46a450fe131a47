//! Debian and Ubuntu.

use std::io::{IsTerminal as _, Write as _, stderr, stdin};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::Need;
use crate::error::StackError;

/// Does the work, as root.
const SCRIPT: &str = include_str!("apt.sh");

pub(super) fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").is_file()
}

/// Installs packages as root, or, after asking, through sudo.
pub(super) fn install(missing: &[Need]) -> Result<(), StackError> {
    let packages: Vec<_> = missing.iter().map(|need| package(*need)).collect();
    let by_hand = format!("install them with: sudo apt-get install {}", packages.join(" "));
    if geteuid().is_root() {
        return run(Command::new("sh"), &packages, &by_hand);
    }
    if !may_use_sudo(&packages) {
        return Err(StackError::Missing(format!("{} missing; {by_hand}", packages.join(" and "))));
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("sh");
    run(sudo, &packages, &by_hand)
}

fn package(need: Need) -> &'static str {
    match need {
        Need::Redis => "redis-server",
        Need::Postgres => "postgresql",
        Need::Chromium => "chromium",
        Need::Nginx => "nginx",
        Need::Prometheus => "prometheus",
    }
}

fn run(mut shell: Command, packages: &[&str], by_hand: &str) -> Result<(), StackError> {
    shell.args(["-c", SCRIPT, "install"]).args(packages).stdin(Stdio::inherit());
    let status = shell.status().map_err(StackError::io("sh"))?;
    if status.success() {
        Ok(())
    } else {
        Err(StackError::Missing(format!("apt-get failed; {by_hand}")))
    }
}

/// Asks on the terminal. Where there is none, nobody has agreed.
fn may_use_sudo(packages: &[&str]) -> bool {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return false;
    }
    eprint!("Mayfly needs {}. Install with apt-get through sudo? [y/N] ", packages.join(" and "));
    let mut answer = String::new();
    let asked = stderr().flush().and_then(|()| stdin().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
