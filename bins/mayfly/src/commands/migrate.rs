//! `mayfly migrate`.

use std::process::ExitCode;

use anyhow::Result;

use crate::output::say;
use crate::settings::load_settings;

pub(crate) async fn migrate() -> Result<ExitCode> {
    let settings = load_settings()?;
    let applied = mayfly_cold::migrations::run(&settings.postgres.url).await?;
    for version in &applied {
        say(&format!("applied {version}"));
    }
    if applied.is_empty() {
        say("the schema is up to date");
    }
    Ok(ExitCode::SUCCESS)
}
