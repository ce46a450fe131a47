//! persist-worker: moves accepted entries from the Redis streams to Postgres.
//!
//! The workers store messages and count plays in batches, exactly once, and acknowledge entries
//! after the commit.

mod batch_processor;
mod claim_heartbeat;
mod maintenance;
mod metrics;
mod outages;
mod restore;
mod stream_handler;
#[cfg(test)]
mod test_stores;
mod throttle;
mod worker;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use mayfly_cold::{ColdAccess, ColdStore};
use mayfly_hot::{HotStore, RedisComponents};
use mayfly_http::BoundListener;
use mayfly_runtime::{Component, Criticality, Process, ServiceFuture, exit_on_panic};
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::metrics::METRICS;
use crate::{
    maintenance::{LedgerMaintenance, QueueMaintenance, sample_retention},
    outages::WorkerOutages,
    stream_handler::{messages::MessageHandler, plays::PlayHandler},
    worker::Worker,
};

/// Runs the workers until the process drains. The workers then process the entries that they have
/// already read, unless Redis or Postgres is unavailable.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let cold =
        ColdStore::with_statement_timeout(&settings.postgres, settings.persist.statement_timeout);
    let redis = process.health.register("redis", Criticality::Required);
    let postgres = process.health.register("postgres", Criticality::Required);
    let schema = process.health.register("schema", Criticality::Required);
    let admin = BoundListener::bind(settings.admin.listen)?;
    process.log_started(&[("admin", admin.addresses())]);

    mayfly_http::serve_admin(admin, &process).await?;
    let components = RedisComponents { redis, publications: None, needs_memory: false };
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(exit_on_panic("watch Redis", hot.clone().watch(components)));
    let watch = cold.clone().watch(postgres, ColdAccess::Store);
    background_tasks.spawn(exit_on_panic("watch Postgres", watch));
    restore::spawn(&mut background_tasks, &hot, &cold);
    let retention = sample_retention::run(cold.clone());
    background_tasks.spawn(exit_on_panic("delete expired samples", retention));
    let draining = process.lifecycle.draining();
    let queues = QueueMaintenance::new(hot.clone(), settings.clone());
    background_tasks.spawn(exit_on_panic("maintain the queues", queues.run(draining.clone())));
    let ledger = LedgerMaintenance::new(&hot, cold.clone(), settings);
    background_tasks.spawn(exit_on_panic("maintain the ledger", ledger.run()));

    if wait_for_schema(&cold, &schema, &draining).await {
        let timeout = settings.persist.statement_timeout;
        let outages = WorkerOutages::new();
        let reading = Arc::new(Mutex::new(()));
        let message_workers = (0..throttle::writer_count(&settings.persist)).map(|_| {
            let handler = MessageHandler::new(hot.clone(), cold.clone(), timeout);
            let settings = settings.clone();
            Worker::new(
                handler,
                hot.clone(),
                cold.clone(),
                settings,
                draining.clone(),
                outages.clone(),
                Arc::clone(&reading),
            )
            .run()
        });
        // Plays have a single worker, because transactions that count plays run one at a time in
        // Postgres.
        let handler = PlayHandler::new(hot.clone(), cold.clone(), timeout);
        let play_worker = Worker::new(
            handler,
            hot.clone(),
            cold.clone(),
            settings.clone(),
            draining.clone(),
            outages.clone(),
            Arc::default(),
        );
        tokio::join!(join_all(message_workers), play_worker.run());
    }
    background_tasks.shutdown().await;
    Ok(())
}

/// Waits until the database has the required schema. Returns `false` if the process drains first.
async fn wait_for_schema(
    cold: &ColdStore,
    schema: &Component,
    draining: &CancellationToken,
) -> bool {
    const POLL_INTERVAL: Duration = Duration::from_millis(500);
    loop {
        match cold.has_schema().await {
            Ok(true) => {
                schema.mark_up();
                return true;
            }
            Ok(false) => {
                schema
                    .mark_down("the database schema is missing or outdated: run `mayfly migrate`");
            }
            Err(error) => schema.mark_down(error.to_string()),
        }
        if draining.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_none() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::{MetricsHandle, Service};

    use crate::metrics::{METRICS, QUEUE_WAIT_SECONDS};

    #[test]
    fn queue_wait_during_an_outage_is_within_the_buckets() {
        let handle = MetricsHandle::install(Service::PersistWorker, METRICS);
        let handle = handle.expect("no recorder is installed");
        metrics::histogram!(QUEUE_WAIT_SECONDS).record(7_200.0);
        let rendered = handle.render();
        // Other tests may record shorter waits.
        for text in [
            "# TYPE mayfly_queue_wait_seconds histogram",
            "mayfly_queue_wait_seconds_bucket{le=\"14400\"} ",
        ] {
            assert!(rendered.contains(text), "{text}: {rendered}");
        }
    }
}
