//! persist-worker: takes what was accepted from the queues in Redis, stores messages and counts plays
//! in Postgres in batches, exactly once, and acknowledges after the commit.
//!
//! [`worker`] is the loop, [`settle`] gives every entry its outcome; what is done with the entries of
//! a stream is [`work`]: [`messages`] and [`plays`]. [`keeper`] does what has to be done now and then,
//! [`forgetter`] among it, [`retention`] beside it; [`keys`], [`restore`] and [`recount`] what has to
//! be done after Redis lost its data.

mod forgetter;
mod keeper;
mod keys;
mod messages;
mod plays;
mod recount;
mod restore;
mod retention;
mod settle;
mod throttle;
mod work;
mod worker;

use std::time::Duration;

use futures_util::future::join_all;
use mayfly_cold::Cold;
use mayfly_hot::Hot;
use mayfly_http::Server;
use mayfly_runtime::{Need, Part, Process, repeat};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    keeper::Keeper, keys::keep_keys, messages::Messages, plays::Plays, recount::recount,
    restore::restore, retention::retain, worker::Worker,
};

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
    spawn_restoring(&mut besides, &hot, &cold);
    besides.spawn(retain(cold.clone()));
    besides.spawn(Keeper::new(hot.clone(), cold.clone(), settings.clone()).run());

    let draining = process.lifecycle.draining();
    if wait_for_schema(&cold, &schema, &draining).await {
        let timeout = settings.persist.statement_timeout;
        let stores = (0..throttle::writers(&settings.persist)).map(|_| {
            let work = Messages::new(hot.clone(), cold.clone(), timeout);
            let settings = settings.clone();
            Worker::new(work, hot.clone(), cold.clone(), settings, draining.clone()).run()
        });
        // One: while it counts a batch, the next is on its way, and Postgres counts one at a time.
        let work = Plays::new(hot.clone(), cold.clone(), timeout);
        let counts =
            Worker::new(work, hot.clone(), cold.clone(), settings.clone(), draining.clone()).run();
        tokio::join!(join_all(stores), counts);
    }
    besides.shutdown().await;
    Ok(())
}

/// Looks again and again for what Redis lost, or was not told, and brings it back from Postgres.
fn spawn_restoring(besides: &mut JoinSet<()>, hot: &Hot, cold: &Cold) {
    let (h, c) = (hot.clone(), cold.clone());
    besides.spawn(repeat(restore::INTERVAL, "make hot copies again", async move || {
        restore(&h, &c).await
    }));
    let (h, c) = (hot.clone(), cold.clone());
    besides
        .spawn(repeat(recount::INTERVAL, "show counts again", async move || recount(&h, &c).await));
    let (h, c) = (hot.clone(), cold.clone());
    besides
        .spawn(repeat(keys::INTERVAL, "keep the API keys", async move || keep_keys(&h, &c).await));
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
