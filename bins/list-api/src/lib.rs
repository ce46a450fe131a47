//! list-api, the read API: serves messages, counts and statistics over REST.
//!
//! Live messages are read from Redis, stored messages from Postgres. A take or a deletion is one
//! atomic step in Redis.

mod cache;
mod hosts;
mod increasing;
mod json;
mod messages;
mod metrics;
mod plays;
mod problems;
mod pulse;
mod routes;
mod snapshot;
mod upstream;

use mayfly_authenticator::Authenticator;
use mayfly_cold::{ColdAccess, ColdStore};
use mayfly_hot::{HotStore, RedisComponents};
use mayfly_http::BoundListener;
use mayfly_runtime::{Criticality, Process, ServiceFuture, exit_on_panic};
use tokio::task::JoinSet;

pub use self::{messages::rights, metrics::METRICS};
use crate::snapshot::SnapshotUrl;

/// Runs the service until it is drained. The drain completes the accepted requests.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let cold = ColdStore::for_requests(&settings.postgres);
    let redis = process.health.register("redis", Criticality::Required);
    let publications = process.health.register("publications", Criticality::Optional);
    let postgres = process.health.register("postgres", Criticality::Optional);
    let authenticator = Authenticator::start(&hot, settings, &process.health);
    let http = BoundListener::bind(settings.http.listen)?;
    let admin = BoundListener::bind(settings.admin.listen)?;
    let addresses = [http.addresses(), admin.addresses()].map(<[_]>::to_vec);

    mayfly_http::serve_admin(admin, &process).await?;
    let components =
        RedisComponents { redis, publications: Some(publications), needs_memory: false };
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(exit_on_panic("watch Redis", hot.clone().watch(components)));
    let watch = cold.clone().watch(postgres, ColdAccess::Read);
    background_tasks.spawn(exit_on_panic("watch Postgres", watch));
    let snapshot_url = SnapshotUrl::new(&settings.stats);
    let (stats, health) = (settings.stats.clone(), process.health.clone());
    let sign = snapshot_url.clone().sign_periodically(hot.clone(), stats, health);
    background_tasks.spawn(exit_on_panic("sign the URL of the snapshot", sign));
    process.log_started(&[("http", &addresses[0]), ("admin", &addresses[1])]);
    let routes =
        routes::configure(hot, cold, authenticator.clone(), snapshot_url, settings.clone());
    let served = mayfly_http::serve(http, &process, authenticator, routes).await;
    background_tasks.shutdown().await;
    served
}
