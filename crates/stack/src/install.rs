//! Installs the programs that the stack and its tests need.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::error::StackError;
use crate::programs::chromium::find_chromium;
use crate::programs::find_tool;
use crate::programs::postgres::PostgresBinaries;
use crate::programs::redis::find_redis;

const SCRIPT: &str = include_str!("../install-dependencies.sh");

/// A program that the stack or its tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// `redis-server`, 7.0 or newer.
    Redis,
    /// PostgreSQL, 15 or newer.
    Postgres,
    /// Chromium, for the tests of the web page.
    Chromium,
    /// nginx, for the tests of the reverse proxy.
    Nginx,
    /// Prometheus and promtool, for the tests of rules and dashboards.
    Prometheus,
}

impl Dependency {
    /// All programs that the stack and its tests need.
    pub const ALL: [Self; 5] =
        [Self::Redis, Self::Postgres, Self::Chromium, Self::Nginx, Self::Prometheus];

    /// Returns the name that the installation script accepts.
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Chromium => "chromium",
            Self::Nginx => "nginx",
            Self::Prometheus => "prometheus",
        }
    }

    fn check(self) -> Result<(), StackError> {
        match self {
            Self::Redis => find_redis().map(drop),
            Self::Postgres => PostgresBinaries::find(None).map(drop),
            Self::Chromium => find_chromium().map(drop),
            Self::Nginx => find_tool("nginx").map(drop),
            Self::Prometheus => find_tool("prometheus").and(find_tool("promtool")).map(drop),
        }
    }
}

/// Installs the programs in `dependencies` that are missing. The installed programs do not run as
/// system services.
pub fn ensure_installed(dependencies: &[Dependency]) -> Result<(), StackError> {
    let missing: Vec<_> =
        dependencies.iter().copied().filter(|dependency| dependency.check().is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run_script(&missing)?;
    let errors: Vec<_> = missing.iter().filter_map(|dependency| dependency.check().err()).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Err(StackError::MissingDependency(reasons.join("; ")))
}

/// Runs the installation script, which prints the reason for a failure. The script is written to a
/// file, so that it can run itself again through sudo.
fn run_script(missing: &[Dependency]) -> Result<(), StackError> {
    let mut file = NamedTempFile::new().map_err(StackError::io("a temporary file"))?;
    file.write_all(SCRIPT.as_bytes()).map_err(StackError::io(file.path()))?;
    Command::new("sh")
        .arg(file.path())
        .arg("--no-check")
        .args(missing.iter().map(|dependency| dependency.name()))
        .stdin(Stdio::inherit())
        .status()
        .map(drop)
        .map_err(StackError::io("sh"))
}
