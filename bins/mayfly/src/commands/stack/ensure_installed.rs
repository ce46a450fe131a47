//! `mayfly ensure-installed`: installs missing programs.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::Dependency;

pub(crate) fn ensure_installed() -> Result<ExitCode> {
    mayfly_stack::ensure_installed(&Dependency::ALL)?;
    Ok(ExitCode::SUCCESS)
}
