//! The metrics of all services.
//!
//! The modules are included from the sources of the services. If the tests depended on the service
//! crates, each change to a service would rebuild all tests. The included modules therefore use
//! only library crates.

#[path = "../../bins/ingest-api/src/metrics.rs"]
mod ingest_api;
#[path = "../../bins/list-api/src/metrics.rs"]
mod list_api;
#[path = "../../bins/persist-worker/src/metrics.rs"]
mod persist_worker;
#[path = "../../bins/stats-publisher/src/metrics.rs"]
mod stats_publisher;
#[path = "../../bins/ws-fanout/src/metrics.rs"]
mod ws_fanout;

use mayfly_runtime::{
    Service,
    metrics::{METRICS, Metric},
};

/// Returns the metrics that a service exports.
pub fn exported_metrics(service: Service) -> impl Iterator<Item = &'static Metric> {
    let tables = match service {
        Service::IngestApi => ingest_api::METRICS,
        Service::ListApi => list_api::METRICS,
        Service::PersistWorker => persist_worker::METRICS,
        Service::WsFanout => ws_fanout::METRICS,
        Service::StatsPublisher => stats_publisher::METRICS,
    };
    METRICS.iter().chain(tables.iter().copied().flatten())
}
