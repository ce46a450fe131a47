//! `mayfly simulate reset`: removes the videos of all simulations of plays.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mayfly_cold::Cold;
use mayfly_hot::Hot;

use super::local_stack::LocalStack;
use super::{VIDEO_BEGINNING, describe_queued};
use crate::output::say;

pub(super) async fn reset() -> Result<ExitCode> {
    let stack = LocalStack::find().await?.context("Mayfly is down; `make up` starts it")?;
    let settings = stack.settings()?;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::new(&settings.postgres);
    let waiting = hot.count_waiting_plays().await.context("Redis cannot be asked")?;
    if waiting > 0 {
        bail!(
            "{}, and what is of a simulation would be counted after this: try again when all are counted",
            describe_queued(waiting)
        );
    }
    let run = hot.find_run().await.context("Redis cannot be asked")?;
    if !hot.has_all_counts(&run).await.context("Redis cannot be asked")? {
        bail!(
            "counts are being copied to Redis, those of simulations too: try again when that is done"
        );
    }
    // In this order: what Postgres still has would be shown again after a loss of Redis.
    let removed =
        cold.delete_play_counts(VIDEO_BEGINNING).await.context("Postgres cannot be asked")?;
    let hidden = hot.delete_play_counts(VIDEO_BEGINNING).await.context("Redis cannot be asked")?;
    say(&format!("removed {} videos of simulations", removed.max(hidden)));
    Ok(ExitCode::SUCCESS)
}
