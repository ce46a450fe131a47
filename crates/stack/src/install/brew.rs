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
    let formulae: Vec<_> = missing.iter().filter_map(|need| formula(*need)).collect();
    if formulae.len() < missing.len() {
        return Err(StackError::Missing(
            "the tests of the page need a browser; `brew install --cask google-chrome` brings one"
                .to_owned(),
        ));
    }
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

/// Browsers are applications, which are their owner's to choose.
fn formula(need: Need) -> Option<&'static str> {
    match need {
        Need::Redis => Some("redis"),
        Need::Postgres => Some("postgresql@17"),
        Need::Chromium => None,
        Need::Nginx => Some("nginx"),
        Need::Prometheus => Some("prometheus"),
    }
}
