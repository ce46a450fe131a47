//! `mayfly migrate`: applies the schema migrations.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_cold::migrations::{self, Step};
use mayfly_live_client::terminal::{print, print_err};

use crate::settings::load_settings;

pub(crate) async fn migrate() -> Result<ExitCode> {
    let settings = load_settings()?;
    let applied = migrations::run(&settings.postgres.url, |step| match step {
        Step::Waiting => print_err("waiting for another migration to finish"),
        Step::Applying(version) => print_err(&format!("applying {version}")),
    });
    let applied = applied.await?;
    for version in &applied {
        print(&format!("applied {version}"));
    }
    if applied.is_empty() {
        print("the schema is up to date");
    }
    Ok(ExitCode::SUCCESS)
}
