//! Finds the installed programs that the stack and its tests use.

pub(crate) mod chromium;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::path::PathBuf;

use crate::error::StackError;

/// Directories of the tools, in addition to `PATH`.
const TOOL_DIRS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Finds a tool that only tests need: `nginx`, `prometheus` or `promtool`.
pub fn find_tool(name: &str) -> Result<PathBuf, StackError> {
    find_program(name, &TOOL_DIRS).ok_or_else(|| {
        StackError::MissingDependency(format!("{name} is not installed (the tests need it)"))
    })
}

/// Finds a program of the newest supported installation of Postgres, such as `initdb`.
pub fn find_postgres_program(name: &str) -> Result<PathBuf, StackError> {
    Ok(postgres::PostgresBinaries::find(None)?.program(name))
}

/// Finds a program in `PATH` and in additional directories.
pub(crate) fn find_program(name: &str, additional_dirs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(additional_dirs.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|program| program.is_file())
}
