//! The metrics of the hot store, in one table per kind of use.

use mayfly_runtime::metrics::{Metric, Series};

/// 1 while Redis responds, else 0.
pub const REDIS_UP: &str = "mayfly_redis_up";
/// Publications that Redis rejected. Subscribers read their content from the stream instead.
pub const PUBLISH_FAILURES_TOTAL: &str = "mayfly_publish_failures_total";
/// 1 while this process is the leader of a `lease`, 0 while it is on standby.
pub const LEADER: &str = "mayfly_leader";

/// Metrics of every process that calls [`HotStore::watch`](crate::HotStore::watch).
pub const HEALTH: &[Metric] =
    &[Metric::gauge(REDIS_UP, "1 while Redis responds, else 0", Series::Later)];

/// Metrics of every process that publishes to a feed.
pub const PUBLICATIONS: &[Metric] =
    &[Metric::counter(PUBLISH_FAILURES_TOTAL, "Publications that Redis rejected", Series::One)];

/// Metrics of every process that acquires a [`Lease`](crate::Lease).
pub const LEASES: &[Metric] = &[Metric::gauge(
    LEADER,
    "1 while this process is the leader of a lease, 0 while it is on standby",
    Series::Later,
)];
