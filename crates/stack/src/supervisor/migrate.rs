//! Runs the schema migrations.

use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::error::StackError;
use crate::files::paths::Paths;
use crate::process::{LogMark, inherited_environment, open_log, set_parent_death_signal};
use crate::spec::Spec;
use crate::supervisor::QUOTED_LINES;

/// Runs `mayfly migrate` with its output in `migrate.log`.
pub(super) async fn migrate(
    spec: &Spec,
    paths: &Paths,
    database_url: &str,
) -> Result<(), StackError> {
    let program = spec.bin_dir.join("mayfly");
    let path = paths.logs().join("migrate.log");
    let log = open_log(&path).map_err(StackError::io(&path))?;
    let mark = LogMark::at_end(&path);
    let mut command = Command::new(&program);
    command
        .arg("migrate")
        .env_clear()
        .envs(inherited_environment())
        .env("DATABASE_URL", database_url);
    command.current_dir(paths.root()).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(log.try_clone().map_err(StackError::io(&path))?).stderr(log);
    set_parent_death_signal(&mut command, Signal::SIGKILL);
    let status = command.status().await.map_err(StackError::io(program))?;
    if status.success() {
        return Ok(());
    }
    let lines = mark.last_lines(QUOTED_LINES);
    Err(StackError::Migrate(format!("{status}; end of its log:\n{lines}")))
}
