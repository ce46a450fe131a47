//! `mayfly config`: prints the configuration reference.

use std::process::ExitCode;

use anyhow::Result;

use crate::command_line::Config;
use crate::output::print;

#[expect(clippy::unnecessary_wraps, reason = "all commands have this signature")]
pub(crate) fn config(format: &Config) -> Result<ExitCode> {
    match format {
        Config::Env => print(&mayfly_runtime::render_env_example()),
        Config::Table => print(&mayfly_runtime::render_key_table()),
    }
    Ok(ExitCode::SUCCESS)
}
