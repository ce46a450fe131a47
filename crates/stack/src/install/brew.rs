//! Homebrew, which starts nothing by itself.

use std::process::{Command, Stdio};

use super::Need;
use crate::error::StackError;

pub(super) fn is_here() -> bool {
    let asked =
        Command::new("brew").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

pub(super) fn install(missing: &[Need]) -> Result<(), StackError> {
    let formulae: Vec<_> = missing.iter().map(|need| formula(*need)).collect();
    let status = Command::new("brew")
        .arg("install")
        .args(&formulae)
        .status()
        .map_err(StackError::io("brew"))?;
    if status.success() {
        return Ok(());
    }
    Err(StackError::Missing(format!("brew install {} failed", formulae.join(" "))))
}

fn formula(need: Need) -> &'static str {
    match need {
        Need::Redis => "redis",
        Need::Postgres => "postgresql@17",
    }
}
