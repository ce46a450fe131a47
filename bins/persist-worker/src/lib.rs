//! persist-worker: takes accepted messages, takes and deletions from the queue in Redis, stores them
//! in Postgres in batches, exactly once, and acknowledges after the commit.
//!
//! [`worker`] is the loop, [`batch`] says what a batch holds, [`settle`] gives every entry its
//! outcome, [`keeper`] does what has to be done now and then,
//! [`restorer`] what has to be done after Redis lost its data.

mod batch;
mod keeper;
mod restorer;
mod settle;
mod throttle;
mod worker;

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Part, Process};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{keeper::Keeper, restorer::Restorer, worker::Worker};

/// Runs the worker until it is told to drain and has settled what it had taken.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::with_statement_timeout(&settings.postgres, settings.persist.statement_timeout);
    let redis = process.health.register("redis", Need::Required);
    let postgres = process.health.register("postgres", Need::Required);
    let schema = process.health.register("schema", Need::Required);
    let admin = Server::bind(settings.admin.listen)?;
    process.started(&[("admin", admin.address())]);

    mayfly_http::serve_admin(admin, &process).await?;
    let mut besides = JoinSet::new();
    besides.spawn(hot.clone().watch(redis));
    besides.spawn(cold.clone().watch(postgres));
    besides.spawn(Restorer::new(hot.clone(), cold.clone()).run());
    besides.spawn(Keeper::new(hot.clone(), cold.clone(), settings.clone()).run());

    let draining = process.lifecycle.draining();
    if wait_for_schema(&cold, &schema, &draining).await {
        let workers = (0..throttle::writers(&settings.persist)).map(|_| {
            Worker::new(hot.clone(), cold.clone(), settings.clone(), draining.clone()).run()
        });
        join_all(workers).await;
    }
    besides.shutdown().await;
    Ok(())
}

/// Waits until the schema is there; false if the process is to leave before.
async fn wait_for_schema(cold: &Cold, schema: &Part, draining: &CancellationToken) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(500);
    loop {
        match cold.has_schema().await {
            Ok(true) => {
                schema.up();
                return true;
            }
            Ok(false) => schema.down("the schema is not there yet: run `mayfly migrate`"),
            Err(error) => schema.down(error.to_string()),
        }
        if draining.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            return false;
        }
    }
}
