//! Finds the browser for the tests of the web page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::StackError;
use crate::programs::find_program;

/// The names of the program in the packages of Debian, Ubuntu and Google.
const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];

/// Directories on Linux, in addition to `PATH`.
const LINUX_DIRS: [&str; 2] = ["/usr/bin", "/snap/bin"];

/// The paths of the programs on macOS.
const MACOS_PROGRAMS: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Finds a working Chromium or Chrome.
pub fn find_chromium() -> Result<PathBuf, StackError> {
    let linux = NAMES.iter().filter_map(|name| find_program(name, &LINUX_DIRS));
    let macos = MACOS_PROGRAMS.iter().map(PathBuf::from).filter(|path| path.is_file());
    linux.chain(macos).find(|program| runs(program)).ok_or_else(|| {
        StackError::MissingDependency(
            "Chromium is not installed (the tests of the web page need it)".to_owned(),
        )
    })
}

/// Returns whether `program` runs. On Ubuntu, the program may be a stub that only suggests
/// installing a snap.
fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["--version", "--no-sandbox"]).stdin(Stdio::null());
    let output = command.output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}
