//! stats-publisher: runs the jobs that only one instance may run at a time.
//!
//! Each job has at most one leader among the instances. The jobs publish the statistics snapshot,
//! the play counts, the pulse and the trends of pages.

mod leadership;
mod metrics;
mod play_counts;
mod pulse;
mod schedule;
mod snapshot;
mod trends;

use std::sync::Arc;

use mayfly_cold::{ColdAccess, ColdStore};
use mayfly_hot::{HotStore, RedisComponents};
use mayfly_http::BoundListener;
use mayfly_runtime::{Criticality, Process, ServiceFuture, exit_on_panic};
use mayfly_s3::SnapshotStore;
use tokio::{sync::Notify, task::JoinSet};

pub use self::metrics::METRICS;
use crate::{
    play_counts::{PlayCountPublisher, PublishedCountSaver},
    pulse::PulsePublisher,
    snapshot::{S3Health, SnapshotPublisher},
    trends::TrendSampler,
};

/// Runs the jobs until the process drains, then tries to complete the work in progress and to
/// release the leases.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let cold = ColdStore::new(&settings.postgres);
    let s3 = SnapshotStore::new(&settings.stats);
    let redis = process.health.register("redis", Criticality::Required);
    let publications = process.health.register("publications", Criticality::Optional);
    let postgres = process.health.register("postgres", Criticality::Optional);
    let s3_health = S3Health::register(&process.health);
    let component = process.health.register("snapshot", Criticality::Optional);
    let admin = BoundListener::bind(settings.admin.listen)?;
    let addresses = admin.addresses().to_vec();

    mayfly_http::serve_admin(admin, &process).await?;
    let components =
        RedisComponents { redis, publications: Some(publications), needs_memory: false };
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(exit_on_panic("watch Redis", hot.clone().watch(components)));
    let watch = cold.clone().watch(postgres, ColdAccess::Publish);
    background_tasks.spawn(exit_on_panic("watch Postgres", watch));
    background_tasks.spawn(exit_on_panic("watch S3", s3_health.clone().watch(s3.clone())));
    process.log_started(&[("admin", &addresses)]);
    let draining = process.lifecycle.draining();
    let published = Arc::<Notify>::default();
    let play_counts =
        PlayCountPublisher::new(hot.clone(), settings.plays.interval, Arc::clone(&published));
    let saver = PublishedCountSaver::new(hot.clone(), cold.clone(), published);
    let pulse = PulsePublisher::new(hot.clone(), cold.clone());
    let trends =
        TrendSampler::new(hot.clone(), cold.clone(), Arc::clone(settings), draining.clone());
    let interval = settings.stats.interval;
    let snapshot =
        SnapshotPublisher::new(hot, cold, s3, s3_health, component, interval, draining.clone());
    tokio::join!(
        snapshot.run(),
        play_counts.run(draining.clone()),
        saver.run(draining.clone()),
        pulse.run(draining),
        trends.run(),
    );
    background_tasks.shutdown().await;
    Ok(())
}
