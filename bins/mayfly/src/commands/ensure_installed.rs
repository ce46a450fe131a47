//! `mayfly ensure-installed`.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_stack::Need;

pub(crate) fn ensure_installed() -> Result<ExitCode> {
    mayfly_stack::ensure_installed(&[
        Need::Redis,
        Need::Postgres,
        Need::Chromium,
        Need::Nginx,
        Need::Prometheus,
    ])?;
    Ok(ExitCode::SUCCESS)
}
