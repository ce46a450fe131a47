//! Where Postgres is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::StackError;

/// The oldest that has everything we use.
const MAJOR_MIN: u32 = 15;

/// Where packages put it: Debian and Ubuntu, the makers' own packages, Homebrew. `*` is the version.
const PLACES: [(&str, &str); 5] = [
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
    /// Finds the newest installation, or, where data is already there, the one that the data belongs to.
    pub(crate) fn find(data_major: Option<u32>) -> Result<Self, StackError> {
        let found = installed();
        let fits = |binaries: &&Self| {
            data_major.map_or(binaries.major >= MAJOR_MIN, |major| binaries.major == major)
        };
        found.iter().filter(fits).max_by_key(|binaries| binaries.major).cloned().ok_or_else(|| {
            StackError::Missing(
                match (data_major, found.iter().map(|binaries| binaries.major).max()) {
                    (Some(major), _) => format!(
                        "the data in this checkout is of PostgreSQL {major}, which is not installed"
                    ),
                    (None, Some(major)) => format!(
                        "PostgreSQL {major} is installed, and {MAJOR_MIN} or newer is needed"
                    ),
                    (None, None) => {
                        format!("PostgreSQL is not installed ({MAJOR_MIN} or newer is needed)")
                    }
                },
            )
        })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn installed() -> Vec<PostgresBinaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> =
        PLACES.iter().flat_map(|(base, bin)| list_versions(base, bin)).collect();
    dirs.extend(std::env::split_paths(&path).filter_map(|dir| real_dir(&dir)));
    dirs.sort();
    dirs.dedup();
    dirs.iter().filter_map(|dir| examine(dir)).collect()
}

fn list_versions(base: &str, bin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let dirs = entries
        .map(|entry| entry.path())
        .filter(|path| is_postgres(base, path))
        .map(|path| path.join(bin));
    dirs.filter(|dir| dir.join("postgres").is_file()).collect()
}

/// `15` below a directory of its own, `postgresql@15` or `pgsql-15` among others.
fn is_postgres(base: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    base.to_lowercase().ends_with("postgresql")
        || name.starts_with("postgresql")
        || name.starts_with("pgsql")
}

/// The directory where a program in `PATH` really lies: its companions are there, not beside the link.
fn real_dir(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("postgres").canonicalize().ok()?;
    program.parent().map(Path::to_owned)
}

fn examine(dir: &Path) -> Option<PostgresBinaries> {
    if !dir.join("initdb").is_file() {
        return None;
    }
    let said =
        Command::new(dir.join("postgres")).arg("--version").current_dir("/").output().ok()?;
    let major = parse_major(&String::from_utf8_lossy(&said.stdout))?;
    Some(PostgresBinaries { dir: dir.to_owned(), major })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, and `17beta1` too.
fn parse_major(said: &str) -> Option<u32> {
    let version = said.split_whitespace().nth(2)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major(""), None);
    }

    #[test]
    fn data_of_a_version_that_is_not_installed_is_left_alone() {
        let error =
            PostgresBinaries::find(Some(9)).expect_err("nobody has it any more").to_string();
        assert!(error.contains("PostgreSQL 9"), "{error}");
    }
}
