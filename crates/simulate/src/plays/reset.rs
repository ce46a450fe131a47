//! `mayfly simulate reset`: deletes the videos of all simulations.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_live_client::terminal::print;

use super::{VIDEO_ID_PREFIX, describe_queued};
use crate::stack::local_stack::LocalStack;

/// Deletes the counts of all simulated videos. Returns an error if plays are still queued, or if
/// counts are being copied to Redis.
pub async fn delete_simulated_videos() -> Result<ExitCode> {
    let stack = LocalStack::find().await?.context("Mayfly is down; start it with `make up`")?;
    let settings = stack.settings()?;
    let hot = HotStore::new(&settings.redis)?;
    let cold = ColdStore::new(&settings.postgres);
    let queued = hot.plays().count_waiting().await.context("cannot read Redis")?;
    if queued > 0 {
        bail!(
            "{}, and simulated plays would be counted after the deletion; retry when all plays are counted",
            describe_queued(queued)
        );
    }
    let run_id = hot.plays().find_run_id().await.context("cannot read Redis")?;
    if !hot.plays().has_all_counts(&run_id).await.context("cannot read Redis")? {
        bail!("counts, including those of simulations, are being copied to Redis; retry later");
    }
    // Delete from Postgres first, because the counts in Redis are restored from Postgres.
    let deleted = cold.play_counts().delete(VIDEO_ID_PREFIX).await;
    let deleted = deleted.context("cannot delete the counts in Postgres")?;
    let hidden = hot.plays().delete_counts(VIDEO_ID_PREFIX).await;
    let hidden = hidden.context("cannot delete the counts in Redis")?;
    print(&format!("deleted {} simulated videos", deleted.max(hidden)));
    Ok(ExitCode::SUCCESS)
}
