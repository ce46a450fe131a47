//! Programs that only tests need, from the packages of the system.

use std::path::PathBuf;

use crate::error::StackError;
use crate::server::find_program;

/// Where they lie, as far as that is not in `PATH`.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Finds `nginx`, `prometheus` or `promtool`.
pub fn find_tool(name: &str) -> Result<PathBuf, StackError> {
    find_program(name, &PLACES)
        .ok_or_else(|| StackError::Missing(format!("{name} is not installed (the tests need it)")))
}
