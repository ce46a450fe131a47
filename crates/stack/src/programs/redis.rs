//! Finds the Redis server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::StackError;
use crate::programs::find_program;

/// The oldest supported version.
const VERSION_MIN: (u32, u32) = (7, 0);

/// Directories of the server, in addition to `PATH`.
const DIRS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Finds a supported `redis-server`.
pub(crate) fn find_redis() -> Result<PathBuf, StackError> {
    let missing = |reason| StackError::MissingDependency(reason);
    let program = find_program("redis-server", &DIRS).ok_or_else(|| {
        missing("redis-server is not installed (7.0 or newer is required)".to_owned())
    })?;
    let path = program.display();
    match read_version(&program) {
        Some(version) if version >= VERSION_MIN => Ok(program),
        Some((major, minor)) => {
            Err(missing(format!("{path} is version {major}.{minor}, but 7.0 or newer is required")))
        }
        None => Err(missing(format!("{path} does not report its version"))),
    }
}

/// Reads the version of Redis, or of a fork with the same output (`Redis server v=7.0.15 …`).
fn read_version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(output: &str) -> Option<(u32, u32)> {
    let version = output.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_parsed_from_the_output() {
        let output = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(parse_version(output), Some((7, 0)));
        assert_eq!(parse_version("command not found"), None);
    }
}
