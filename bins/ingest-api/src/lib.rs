//! ingest-api, the write API: accepts messages, plays and visits over REST and writes them to
//! Redis.
//!
//! The service never connects to Postgres.

mod client_identity;
mod ledger_report;
mod messages;
mod metrics;
mod outcome;
mod plays;
mod problems;
mod rate_limits;
pub mod rights;
mod routes;
mod visits;
mod write_response;

use mayfly_authenticator::Authenticator;
use mayfly_hot::{HotStore, RedisComponents};
use mayfly_http::BoundListener;
use mayfly_runtime::{Criticality, Process, ServiceFuture, exit_on_panic};

use self::ledger_report::LedgerReport;
pub use self::metrics::METRICS;

/// Runs the service until it is drained. The drain completes the accepted requests.
pub fn run(process: Process) -> ServiceFuture {
    Box::pin(run_service(process))
}

async fn run_service(process: Process) -> anyhow::Result<()> {
    let settings = &process.settings;
    let hot = HotStore::new(&settings.redis)?;
    let redis = process.health.register("redis", Criticality::Required);
    let publications = process.health.register("publications", Criticality::Optional);
    let authenticator = Authenticator::start(&hot, settings, &process.health);
    let http = BoundListener::bind(settings.http.listen)?;
    let admin = BoundListener::bind(settings.admin.listen)?;
    let addresses = [http.addresses(), admin.addresses()].map(<[_]>::to_vec);

    mayfly_http::serve_admin(admin, &process).await?;
    let components =
        RedisComponents { redis, publications: Some(publications), needs_memory: true };
    let watch = tokio::spawn(exit_on_panic("watch Redis", hot.clone().watch(components)));
    process.log_started(&[("http", &addresses[0]), ("admin", &addresses[1])]);
    let report = LedgerReport::start(hot.clone());
    let routes = routes::configure(hot, settings.clone());
    let served = mayfly_http::serve(http, &process, authenticator, routes).await;
    report.stop().await;
    watch.abort();
    served
}
