//! The metrics of all services: names, help texts, and the services that export them.

mod handle;

use self::Series::{Each, Later, One};
pub use self::handle::MetricsHandle;
use crate::Service;

/// Always 1; the labels `service` and `version` identify the build.
pub const BUILD_INFO: &str = "mayfly_build_info";
/// Requests answered on the public port, by `method`, `route` (the path pattern) and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "mayfly_http_requests_total";
/// Time from receiving the head of a request until its response is ready to be sent, by `route`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "mayfly_http_request_duration_seconds";
/// Accepted items, by `kind`.
pub const ACCEPTED_TOTAL: &str = "mayfly_accepted_total";
/// Items stored in Postgres, by `kind`.
pub const STORED_TOTAL: &str = "mayfly_stored_total";
/// Entries that wait to be stored, by `stream`.
pub const QUEUE_DEPTH: &str = "mayfly_queue_depth";
/// All entries of a stream, including stored ones within the resume window, by `stream`.
pub const QUEUE_LENGTH: &str = "mayfly_queue_length";
/// Entries that are delivered to a worker and not yet acknowledged, by `stream`.
pub const QUEUE_PENDING: &str = "mayfly_queue_pending";
/// Age of the oldest entry that waits to be stored, by `stream`.
pub const QUEUE_OLDEST_AGE_SECONDS: &str = "mayfly_queue_oldest_age_seconds";
/// Entries in the dead-letter queue.
pub const DEAD_LETTERS: &str = "mayfly_dead_letters";
/// Publications that Redis rejected. Subscribers read their content from the stream instead.
pub const PUBLISH_FAILURES_TOTAL: &str = "mayfly_publish_failures_total";
/// 1 while Redis responds, else 0.
pub const REDIS_UP: &str = "mayfly_redis_up";
/// 1 while Postgres responds, else 0.
pub const POSTGRES_UP: &str = "mayfly_postgres_up";
/// Time from parsing a write until Redis acknowledged it.
pub const ACCEPT_DURATION_SECONDS: &str = "mayfly_accept_duration_seconds";
/// Time from the acceptance of an entry until it was stored.
pub const QUEUE_WAIT_SECONDS: &str = "mayfly_queue_wait_seconds";
/// Time to store one batch in Postgres.
pub const STORE_DURATION_SECONDS: &str = "mayfly_store_duration_seconds";
/// Entries per transaction.
pub const BATCH_ENTRIES: &str = "mayfly_batch_entries";
/// 1 while this process is the leader of a `lease`, 0 while it is on standby.
pub const LEADER: &str = "mayfly_leader";
/// Open live connections.
pub const CONNECTIONS: &str = "mayfly_connections";
/// Open live connections that are subscribed to a `feed`.
pub const SUBSCRIPTIONS: &str = "mayfly_subscriptions";
/// Frames enqueued to live connections.
pub const DELIVERIES_TOTAL: &str = "mayfly_deliveries_total";
/// Frames that were not delivered to a connection, by `reason`.
pub const FRAMES_DROPPED_TOTAL: &str = "mayfly_frames_dropped_total";
/// Connections dropped because the client did not read the Close frame in time.
pub const CLOSE_TIMEOUTS_TOTAL: &str = "mayfly_close_timeouts_total";
/// Closed connections, by close `code`; both sides are counted.
pub const CONNECTIONS_CLOSED_TOTAL: &str = "mayfly_connections_closed_total";
/// Connections that requested a replay from a position, by `result`.
pub const RESUMES_TOTAL: &str = "mayfly_resumes_total";
/// Time from the acceptance of a message until it was written to the connections.
pub const DELIVERY_LATENCY_SECONDS: &str = "mayfly_delivery_latency_seconds";
/// Published frames of play counts.
pub const PLAY_FRAMES_TOTAL: &str = "mayfly_play_frames_total";
/// Snapshot runs, by `result`: `published`, `failed`, `late` (another publisher was first),
/// `filling` (the rollups are not yet complete).
pub const SNAPSHOTS_TOTAL: &str = "mayfly_snapshots_total";
/// Duration of a snapshot run, from reading Postgres to announcing the snapshot.
pub const SNAPSHOT_DURATION_SECONDS: &str = "mayfly_snapshot_duration_seconds";
/// Age of the data in the newest snapshot.
pub const SNAPSHOT_AGE_SECONDS: &str = "mayfly_snapshot_age_seconds";
/// Calls to the source of visitor counts, by `result`: `answered`, `refused` (4xx), `limited`
/// (429), `failed`.
pub const RISING_CALLS_TOTAL: &str = "mayfly_rising_calls_total";
/// Published samples of a host's visitors.
pub const RISING_SAMPLES_TOTAL: &str = "mayfly_rising_samples_total";
/// Published samples that were not stored, because too many waited for Postgres or Postgres
/// rejected them.
pub const RISING_SAMPLES_DROPPED_TOTAL: &str = "mayfly_rising_samples_dropped_total";

/// The expected close codes: those of <https://www.iana.org/assignments/websocket>, and the
/// application codes from 4000.
const CLOSE_CODES: [&str; 13] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1009", "4000", "4001", "4002", "4500",
    "4501",
];

/// The definition of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The services that export it.
    pub services: &'static [Service],
    kind: Kind,
    initial: Series,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The series of a metric that are exported as 0 from the start. Without them, `rate()` would miss
/// the first increment.
#[derive(Debug, Clone, Copy)]
enum Series {
    /// One series without labels.
    One,
    /// One series per value of a label.
    Each(&'static str, &'static [&'static str]),
    /// No series: 0 would be wrong, or the labels are not known here.
    Later,
}

const PUBLIC: &[Service] = &[Service::IngestApi, Service::ListApi, Service::WsFanout];
const WRITERS: &[Service] = &[Service::IngestApi, Service::ListApi, Service::StatsPublisher];
const COLD: &[Service] = &[Service::ListApi, Service::PersistWorker, Service::StatsPublisher];
const INGEST: &[Service] = &[Service::IngestApi];
const WORKER: &[Service] = &[Service::PersistWorker];
const FANOUT: &[Service] = &[Service::WsFanout];
const PUBLISHER: &[Service] = &[Service::StatsPublisher];

const fn counter(
    name: &'static str,
    help: &'static str,
    services: &'static [Service],
    initial: Series,
) -> Metric {
    Metric { name, help, services, kind: Kind::Counter, initial }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    services: &'static [Service],
    initial: Series,
) -> Metric {
    Metric { name, help, services, kind: Kind::Gauge, initial }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    services: &'static [Service],
    initial: Series,
) -> Metric {
    Metric { name, help, services, kind: Kind::Histogram, initial }
}

/// Every metric that Mayfly defines.
pub const METRICS: [Metric; 33] = [
    gauge(BUILD_INFO, "Version of the running service; always 1", &Service::ALL, Later),
    counter(HTTP_REQUESTS_TOTAL, "Requests answered on the public port", PUBLIC, Later),
    histogram(
        HTTP_REQUEST_DURATION_SECONDS,
        "Time in seconds from receiving the head of a request until its response is ready to be sent",
        PUBLIC,
        Later,
    ),
    counter(
        ACCEPTED_TOTAL,
        "Accepted items",
        INGEST,
        Each("kind", &["messages", "plays", "visits"]),
    ),
    counter(STORED_TOTAL, "Items stored in Postgres", WORKER, Each("kind", &["messages", "plays"])),
    gauge(QUEUE_DEPTH, "Entries that wait to be stored", WORKER, Later),
    gauge(
        QUEUE_LENGTH,
        "All entries of a stream, including stored ones within the resume window",
        WORKER,
        Later,
    ),
    gauge(
        QUEUE_PENDING,
        "Entries that are delivered to a worker and not yet acknowledged",
        WORKER,
        Later,
    ),
    gauge(
        QUEUE_OLDEST_AGE_SECONDS,
        "Age in seconds of the oldest entry that waits to be stored",
        WORKER,
        Later,
    ),
    gauge(DEAD_LETTERS, "Entries in the dead-letter queue", WORKER, Later),
    counter(PUBLISH_FAILURES_TOTAL, "Publications that Redis rejected", WRITERS, One),
    gauge(REDIS_UP, "1 while Redis responds, else 0", &Service::ALL, Later),
    gauge(POSTGRES_UP, "1 while Postgres responds, else 0", COLD, Later),
    histogram(
        ACCEPT_DURATION_SECONDS,
        "Time in seconds from parsing a write until Redis acknowledged it",
        INGEST,
        One,
    ),
    histogram(
        QUEUE_WAIT_SECONDS,
        "Time in seconds from the acceptance of an entry until it was stored",
        WORKER,
        One,
    ),
    histogram(
        STORE_DURATION_SECONDS,
        "Time in seconds to store one batch in Postgres",
        WORKER,
        One,
    ),
    histogram(BATCH_ENTRIES, "Entries per transaction", WORKER, One),
    gauge(
        LEADER,
        "1 while this process is the leader of a lease, 0 while it is on standby",
        PUBLISHER,
        Later,
    ),
    gauge(CONNECTIONS, "Open live connections", FANOUT, One),
    gauge(SUBSCRIPTIONS, "Open live connections that are subscribed to a feed", FANOUT, Later),
    counter(DELIVERIES_TOTAL, "Frames enqueued to live connections", FANOUT, One),
    counter(
        FRAMES_DROPPED_TOTAL,
        "Frames that were not delivered to a connection",
        FANOUT,
        Each("reason", &["slow_consumer"]),
    ),
    counter(
        CLOSE_TIMEOUTS_TOTAL,
        "Connections dropped because the client did not read the Close frame in time",
        FANOUT,
        One,
    ),
    counter(
        CONNECTIONS_CLOSED_TOTAL,
        "Closed live connections, by close code",
        FANOUT,
        Each("code", &CLOSE_CODES),
    ),
    counter(
        RESUMES_TOTAL,
        "Connections that requested a replay from a position",
        FANOUT,
        Each("result", &["resumed", "window", "data_lost", "unknown_position"]),
    ),
    histogram(
        DELIVERY_LATENCY_SECONDS,
        "Time in seconds from the acceptance of a message until it was written to the connections",
        FANOUT,
        One,
    ),
    counter(PLAY_FRAMES_TOTAL, "Published frames of play counts", PUBLISHER, One),
    counter(
        SNAPSHOTS_TOTAL,
        "Snapshot runs",
        PUBLISHER,
        Each("result", &["published", "failed", "late", "filling"]),
    ),
    histogram(SNAPSHOT_DURATION_SECONDS, "Duration in seconds of a snapshot run", PUBLISHER, One),
    gauge(
        SNAPSHOT_AGE_SECONDS,
        "Age in seconds of the data in the newest snapshot",
        PUBLISHER,
        Later,
    ),
    counter(
        RISING_CALLS_TOTAL,
        "Calls to the source of visitor counts",
        PUBLISHER,
        Each("result", &["answered", "refused", "limited", "failed"]),
    ),
    counter(RISING_SAMPLES_TOTAL, "Published samples of visitors", PUBLISHER, One),
    counter(
        RISING_SAMPLES_DROPPED_TOTAL,
        "Published samples of visitors that were not stored",
        PUBLISHER,
        One,
    ),
];
