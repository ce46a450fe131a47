//! `mayfly config`: prints the configuration reference.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_live_client::terminal::print;

use crate::command_line::Config;

#[expect(clippy::unnecessary_wraps, reason = "all commands have this signature")]
pub(crate) fn config(format: &Config) -> Result<ExitCode> {
    match format {
        Config::Env => print(&mayfly_runtime::render_env_example()),
        Config::Table => print(&mayfly_runtime::render_key_table()),
    }
    Ok(ExitCode::SUCCESS)
}
