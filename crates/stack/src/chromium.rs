//! The browser that the tests of the page run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::StackError;
use crate::server::find_program;

/// What it is called: by Debian, by Ubuntu, by its makers.
const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];

/// Where it lies on Linux and macOS, as far as that is not in `PATH`.
const PLACES: [&str; 2] = ["/usr/bin", "/snap/bin"];
const APPLICATIONS: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Finds a Chromium or Chrome that runs.
pub fn find_chromium() -> Result<PathBuf, StackError> {
    let programs = NAMES.iter().filter_map(|name| find_program(name, &PLACES));
    let applications = APPLICATIONS.iter().map(PathBuf::from).filter(|path| path.is_file());
    programs.chain(applications).find(|program| runs(program)).ok_or_else(|| {
        StackError::Missing("Chromium is not installed (the tests of the page need it)".to_owned())
    })
}

/// Whether this system has Chromium as a snap only, which is not for us to install: there one is taken that is there.
pub(crate) fn has_chromium_as_snap_only() -> bool {
    is_ubuntu(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

fn is_ubuntu(os_release: &str) -> bool {
    os_release.lines().any(|line| matches!(line.trim(), "ID=ubuntu" | "ID=\"ubuntu\""))
}

/// A program of this name may be a mere hint that there is a snap.
fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["--version", "--no-sandbox"]).stdin(Stdio::null());
    let asked = command.output();
    asked.is_ok_and(|told| told.status.success() && !told.stdout.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ubuntu_is_told_from_debian() {
        assert!(is_ubuntu("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_ubuntu("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(!is_ubuntu("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_ubuntu(""));
    }
}
