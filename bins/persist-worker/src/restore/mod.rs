//! Periodic tasks that restore data in Redis from Postgres, for example after Redis has lost its
//! data.
//!
//! Each task is idempotent and can be interrupted. Any number of processes can run a task
//! concurrently.

mod api_keys;
mod counts;
mod messages;
mod token_revocations;

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use mayfly_cold::ColdStore;
use mayfly_hot::HotStore;
use mayfly_runtime::{exit_on_panic, run_periodically};
use tokio::task::JoinSet;

/// The error of a reload of keys or revocations that cannot be completed. The next run begins
/// another reload.
const INTERRUPTED: &str =
    "the reload was interrupted, because a page took more than 3 s or Redis has restarted";

type RestoreTask = fn(HotStore, ColdStore) -> BoxFuture<'static, anyhow::Result<()>>;

const TASKS: [(&str, Duration, RestoreTask); 4] = [
    ("restore messages", messages::INTERVAL, |hot, cold| messages::restore(hot, cold).boxed()),
    ("restore play counts", counts::INTERVAL, |hot, cold| counts::restore(hot, cold).boxed()),
    ("sync API keys", api_keys::INTERVAL, |hot, cold| api_keys::sync(hot, cold).boxed()),
    ("sync token revocations", token_revocations::INTERVAL, |hot, cold| {
        token_revocations::sync(hot, cold).boxed()
    }),
];

/// Spawns all tasks.
pub fn spawn(background_tasks: &mut JoinSet<()>, hot: &HotStore, cold: &ColdStore) {
    for (name, interval, task) in TASKS {
        let (hot, cold) = (hot.clone(), cold.clone());
        let runs =
            run_periodically(interval, name, async move || task(hot.clone(), cold.clone()).await);
        background_tasks.spawn(exit_on_panic(name, runs));
    }
}
