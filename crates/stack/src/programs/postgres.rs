//! Finds the Postgres programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::StackError;

/// The oldest supported major version.
const MAJOR_MIN: u32 = 15;

/// The parents of installation directories, each with the subdirectory that contains the programs.
/// The list covers Homebrew, the macOS installer, and the packages of Debian, Ubuntu and the
/// PostgreSQL project.
const INSTALL_DIRS: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Library/PostgreSQL", "bin"),
];

/// One installation of Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresBinaries {
    pub(crate) dir: PathBuf,
    pub(crate) major: u32,
}

impl PostgresBinaries {
    /// Finds the newest supported installation. If a data directory already exists, finds an
    /// installation with its major version, `data_major`.
    pub(crate) fn find(data_major: Option<u32>) -> Result<Self, StackError> {
        let installed = list_installations();
        let is_usable = |binaries: &&Self| {
            data_major.map_or(binaries.major >= MAJOR_MIN, |major| binaries.major == major)
        };
        let newest = installed.iter().filter(is_usable).max_by_key(|binaries| binaries.major);
        newest.cloned().ok_or_else(|| {
            let installed_major = installed.iter().map(|binaries| binaries.major).max();
            StackError::MissingDependency(match (data_major, installed_major) {
                (Some(major), _) => format!(
                    "the data of this stack needs PostgreSQL {major}, which is not installed"
                ),
                (None, Some(major)) => {
                    format!("PostgreSQL {major} is installed, but {MAJOR_MIN} or newer is required")
                }
                (None, None) => {
                    format!("PostgreSQL is not installed ({MAJOR_MIN} or newer is required)")
                }
            })
        })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn list_installations() -> Vec<PostgresBinaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> =
        INSTALL_DIRS.iter().flat_map(|(parent, bin)| list_versions(parent, bin)).collect();
    dirs.extend(std::env::split_paths(&path).filter_map(|dir| resolve_dir(&dir)));
    dirs.sort();
    dirs.dedup();
    dirs.iter().filter_map(|dir| read_installation(dir)).collect()
}

fn list_versions(parent: &str, bin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let dirs = entries
        .map(|entry| entry.path())
        .filter(|path| is_install_dir(parent, path))
        .map(|path| path.join(bin));
    dirs.filter(|dir| dir.join("postgres").is_file()).collect()
}

/// Returns whether a directory has the name of an installation: any name, such as `15`, in a parent
/// named `postgresql`, and only names such as `postgresql@15` and `pgsql-15` elsewhere.
fn is_install_dir(parent: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent.to_lowercase().ends_with("postgresql")
        || name.starts_with("postgresql")
        || name.starts_with("pgsql")
}

/// Returns the directory of the real `postgres` program. A directory in `PATH` may contain only
/// symbolic links to some of the programs.
fn resolve_dir(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("postgres").canonicalize().ok()?;
    program.parent().map(Path::to_owned)
}

fn read_installation(dir: &Path) -> Option<PostgresBinaries> {
    if !dir.join("initdb").is_file() {
        return None;
    }
    let output =
        Command::new(dir.join("postgres")).arg("--version").current_dir("/").output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
    Some(PostgresBinaries { dir: dir.to_owned(), major })
}

/// Parses the major version in output such as `postgres (PostgreSQL) 15.18 (Debian …)`. Also
/// accepts versions such as `17beta1`.
fn parse_major(output: &str) -> Option<u32> {
    let version = output.split_whitespace().nth(2)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_parsed_from_the_output() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major(""), None);
    }

    #[test]
    fn data_of_a_missing_version_is_rejected() {
        let error =
            PostgresBinaries::find(Some(9)).expect_err("version 9 is not installed").to_string();
        assert!(error.contains("PostgreSQL 9"), "{error}");
    }
}
