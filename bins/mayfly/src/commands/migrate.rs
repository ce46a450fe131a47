//! `mayfly migrate`.

use std::process::ExitCode;

use anyhow::Result;
use mayfly_cold::migrations::{self, Step};

use crate::output::{remark, say};
use crate::settings::load_settings;

pub(crate) async fn migrate() -> Result<ExitCode> {
    let settings = load_settings()?;
    let applied = migrations::run(&settings.postgres.url, |step| match step {
        Step::Waiting => remark("another run is at it: waiting"),
        Step::Applying(version) => remark(&format!("applying {version}")),
    });
    let applied = applied.await?;
    for version in &applied {
        say(&format!("applied {version}"));
    }
    if applied.is_empty() {
        say("the schema is up to date");
    }
    Ok(ExitCode::SUCCESS)
}
