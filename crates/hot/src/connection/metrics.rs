//! The metrics of the hot store, grouped by the operations that a process uses.

use mayfly_runtime::metrics::{Metric, Series};

/// 1 while the service can use Redis, else 0.
pub const REDIS_UP: &str = "mayfly_redis_up";
/// Memory that Redis uses for its data, in bytes.
pub const REDIS_MEMORY_BYTES: &str = "mayfly_redis_memory_bytes";
/// The memory limit of Redis (`maxmemory`) in bytes; 0 means no limit.
pub const REDIS_MEMORY_MAX_BYTES: &str = "mayfly_redis_memory_max_bytes";
/// Keys that Redis evicted because it was full. Each key may have contained an accepted message.
pub const REDIS_EVICTED_KEYS_TOTAL: &str = "mayfly_redis_evicted_keys_total";
/// 1 while the append-only file of Redis is on, else 0.
pub const REDIS_AOF_ENABLED: &str = "mayfly_redis_aof_enabled";
/// 1 if the last `operation` on the append-only file failed, else 0.
pub const REDIS_AOF_FAILED: &str = "mayfly_redis_aof_failed";
/// Seconds by which the clock of this process is ahead of the clock of Redis; negative if behind.
pub const CLOCK_DIFFERENCE_SECONDS: &str = "mayfly_clock_difference_seconds";
/// Publications that Redis rejected. Subscribers read the content from Redis keys or streams
/// instead.
pub const PUBLISH_FAILURES_TOTAL: &str = "mayfly_publish_failures_total";
/// Requests that were not sent to Redis because of overload, by `reason`.
pub const REQUESTS_SHED_TOTAL: &str = "mayfly_requests_shed_total";
/// The `reason` of a request that waited for the queue timeout.
pub(crate) const EXPIRED: &str = "expired";
/// 1 while this process is the leader of a `lease`, 0 while it is on standby.
pub const LEADER: &str = "mayfly_leader";

/// Metrics of every process that calls [`HotStore::watch`](crate::HotStore::watch).
pub const HEALTH: &[Metric] = &[
    Metric::gauge(REDIS_UP, "1 while the service can use Redis, else 0", Series::Later),
    Metric::gauge(
        CLOCK_DIFFERENCE_SECONDS,
        "Seconds by which the clock of this process is ahead of that of Redis",
        Series::Later,
    ),
    Metric::gauge(
        REDIS_MEMORY_BYTES,
        "Memory in bytes that Redis uses for its data",
        Series::Later,
    ),
    Metric::gauge(
        REDIS_MEMORY_MAX_BYTES,
        "The memory limit of Redis (maxmemory) in bytes; 0 means no limit",
        Series::Later,
    ),
    Metric::counter(
        REDIS_EVICTED_KEYS_TOTAL,
        "Keys that Redis evicted because it was full",
        Series::One,
    ),
    Metric::gauge(
        REDIS_AOF_ENABLED,
        "1 while the append-only file of Redis is on, else 0",
        Series::Later,
    ),
    Metric::gauge(
        REDIS_AOF_FAILED,
        "1 if the last operation (write or rewrite) on the append-only file failed, else 0",
        Series::Later,
    ),
    Metric::counter(
        REQUESTS_SHED_TOTAL,
        "Requests that were not sent to Redis because of overload",
        Series::Each("reason", &["wait", "full", EXPIRED]),
    ),
];

/// Metrics of every process that publishes to a feed.
pub const PUBLICATIONS: &[Metric] =
    &[Metric::counter(PUBLISH_FAILURES_TOTAL, "Publications that Redis rejected", Series::One)];

/// Metrics of every process that acquires a [`Lease`](crate::Lease).
pub const LEASES: &[Metric] = &[Metric::gauge(
    LEADER,
    "1 while this process is the leader of a lease, 0 while it is on standby",
    Series::Later,
)];

/// Counts a request that was not sent to Redis because of overload.
pub(crate) fn record_shed_request(reason: &'static str) {
    metrics::counter!(REQUESTS_SHED_TOTAL, "reason" => reason).increment(1);
}
