//! `mayfly config`.

use std::process::ExitCode;

use anyhow::Result;

use crate::command_line::Config;
use crate::output::say;

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(crate) fn config(what: &Config) -> Result<ExitCode> {
    match what {
        Config::Env => say(&mayfly_runtime::env_example()),
        Config::Table => say(&mayfly_runtime::key_table()),
    }
    Ok(ExitCode::SUCCESS)
}
