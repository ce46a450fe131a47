//! ingest-api, the write API: accepts messages, plays and visits over REST and writes them to
//! Redis.
//!
//! It never connects to Postgres.

mod client_identity;
mod messages;
mod metrics;
mod outcome;
mod plays;
mod problems;
mod routes;
mod visits;
mod write_response;

use mayfly_hot::HotStore;
use mayfly_http::BoundListener;
use mayfly_runtime::{Criticality, Process, ServiceFuture};

pub use self::metrics::METRICS;

/// Runs the service until it is drained: it completes the requests that it has accepted.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let redis = process.health.register("redis", Criticality::Required);
    let http = BoundListener::bind(settings.http.listen)?;
    let admin = BoundListener::bind(settings.admin.listen)?;
    let listening = [("http", http.address()), ("admin", admin.address())];

    mayfly_http::serve_admin(admin, &process).await?;
    let watch = tokio::spawn(hot.clone().watch(redis));
    process.log_started(&listening);
    let routes = routes::configure(hot, settings.clone());
    let served = mayfly_http::serve(http, &process, routes).await;
    watch.abort();
    served
}
