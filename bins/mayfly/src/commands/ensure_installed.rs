//! `mayfly ensure-installed`.

use std::process::ExitCode;

use anyhow::Result;

pub(crate) fn ensure_installed() -> Result<ExitCode> {
    mayfly_stack::ensure_installed(true, true)?;
    Ok(ExitCode::SUCCESS)
}
