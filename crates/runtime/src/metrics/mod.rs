//! The metrics of all services: their names, what they mean, who shows them.

mod handle;

use self::Series::{Each, Later, One};
pub use self::handle::MetricsHandle;
use crate::Service;

/// 1, with the `service` and its `version`.
pub const BUILD_INFO: &str = "mayfly_build_info";
/// Requests that were answered on the public port, by `method`, `route` (the pattern of the path) and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "mayfly_http_requests_total";
/// Seconds from the head of a request until its answer was made, by `route`.
pub const HTTP_REQUEST_SECONDS: &str = "mayfly_http_request_seconds";
/// Items accepted, by `kind`.
pub const ACCEPTED_TOTAL: &str = "mayfly_accepted_total";
/// Items stored in Postgres, by `kind`.
pub const STORED_TOTAL: &str = "mayfly_stored_total";
/// Entries that wait to be stored, by `stream`.
pub const QUEUE_DEPTH: &str = "mayfly_queue_depth";
/// Entries in a stream, by `stream`: those that wait, and those that are kept for who resumes.
pub const QUEUE_LENGTH: &str = "mayfly_queue_length";
/// Entries that a worker has and did not acknowledge yet, by `stream`.
pub const QUEUE_PENDING: &str = "mayfly_queue_pending";
/// Age in seconds of the oldest entry that waits, by `stream`.
pub const QUEUE_OLDEST_AGE_SECONDS: &str = "mayfly_queue_oldest_age_seconds";
/// Dead letters that nobody has redriven or purged.
pub const DEAD_LETTERS: &str = "mayfly_dead_letters";
/// Publications that Redis refused; what they carried was read from the stream instead.
pub const PUBLISH_FAILURES_TOTAL: &str = "mayfly_publish_failures_total";
/// 1 while Redis answers, else 0.
pub const REDIS_UP: &str = "mayfly_redis_up";
/// 1 while Postgres answers, else 0.
pub const POSTGRES_UP: &str = "mayfly_postgres_up";
/// Seconds from a request to its acceptance.
pub const ACCEPT_SECONDS: &str = "mayfly_accept_seconds";
/// Seconds from the acceptance of an entry until it was stored.
pub const QUEUE_WAIT_SECONDS: &str = "mayfly_queue_wait_seconds";
/// Seconds that a batch took to be stored.
pub const STORE_SECONDS: &str = "mayfly_store_seconds";
/// Entries that were stored in one transaction.
pub const BATCH_ENTRIES: &str = "mayfly_batch_entries";
/// 1 while this process leads by a `lease`, 0 while it is a spare.
pub const LEADER: &str = "mayfly_leader";
/// Connections that are open.
pub const CONNECTIONS: &str = "mayfly_connections";
/// Open connections that have a feed, by `feed`.
pub const SUBSCRIPTIONS: &str = "mayfly_subscriptions";
/// Frames handed to connections.
pub const DELIVERIES_TOTAL: &str = "mayfly_deliveries_total";
/// What did not reach a connection, by `reason`: `slow_consumer` counts frames, `close_timeout`
/// connections that did not read their Close.
pub const DROPPED_TOTAL: &str = "mayfly_dropped_total";
/// Connections closed by this side or the other, by `code`.
pub const CLOSED_TOTAL: &str = "mayfly_closed_total";
/// Connections that handed in a position, by `result`.
pub const RESUMES_TOTAL: &str = "mayfly_resumes_total";
/// Seconds from the acceptance of a message until it was written to the connections.
pub const DELIVERY_SECONDS: &str = "mayfly_delivery_seconds";
/// Frames of counts that were published.
pub const PLAY_FRAMES_TOTAL: &str = "mayfly_play_frames_total";
/// Runs of the statistics, by `result`: `published`, `failed`, `late` (another publisher was faster),
/// `filling` (Postgres still counts what was stored before there were statistics).
pub const SNAPSHOTS_TOTAL: &str = "mayfly_snapshots_total";
/// Seconds that a run took, from reading Postgres to announcing the snapshot.
pub const SNAPSHOT_SECONDS: &str = "mayfly_snapshot_seconds";
/// Seconds since the numbers of the last snapshot were read.
pub const SNAPSHOT_AGE_SECONDS: &str = "mayfly_snapshot_age_seconds";
/// Calls of the service that knows the visitors of pages, by `result`: `answered`, `refused` (4xx),
/// `limited` (429), `failed`.
pub const RISING_CALLS_TOTAL: &str = "mayfly_rising_calls_total";
/// Samples of the visitors of a host's pages that were published.
pub const RISING_SAMPLES_TOTAL: &str = "mayfly_rising_samples_total";
/// Samples that were published and are not stored: more waited for Postgres than may wait, or it
/// refused them.
pub const RISING_SAMPLES_DROPPED_TOTAL: &str = "mayfly_rising_samples_dropped_total";

/// The codes with which connections usually end: https://www.iana.org/assignments/websocket, and ours from 4000 on.
const CODES: [&str; 13] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1009", "4000", "4001", "4002", "4500",
    "4501",
];

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// The services that show it.
    pub of: &'static [Service],
    kind: Kind,
    begins: Series,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Which series of a metric are there from the start, at zero: what happens for the first time is a rise then, and
/// no series out of nothing, which a rate would not show.
#[derive(Debug, Clone, Copy)]
enum Series {
    /// One without a label.
    One,
    /// One for each of these values of a label.
    Each(&'static str, &'static [&'static str]),
    /// None: zero would not be true, or nobody knows the labels before.
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
    of: &'static [Service],
    begins: Series,
) -> Metric {
    Metric { name, help, of, kind: Kind::Counter, begins }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    of: &'static [Service],
    begins: Series,
) -> Metric {
    Metric { name, help, of, kind: Kind::Gauge, begins }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    of: &'static [Service],
    begins: Series,
) -> Metric {
    Metric { name, help, of, kind: Kind::Histogram, begins }
}

/// Every metric of ours.
pub const METRICS: [Metric; 32] = [
    gauge(BUILD_INFO, "The version of this service", &Service::ALL, Later),
    counter(HTTP_REQUESTS_TOTAL, "Requests that were answered", PUBLIC, Later),
    histogram(
        HTTP_REQUEST_SECONDS,
        "Seconds from the head of a request until its answer was made",
        PUBLIC,
        Later,
    ),
    counter(
        ACCEPTED_TOTAL,
        "Items accepted",
        INGEST,
        Each("kind", &["messages", "plays", "visits"]),
    ),
    counter(STORED_TOTAL, "Items stored in Postgres", WORKER, Each("kind", &["messages", "plays"])),
    gauge(QUEUE_DEPTH, "Entries that wait to be stored", WORKER, Later),
    gauge(QUEUE_LENGTH, "Entries in a stream, with those kept for who resumes", WORKER, Later),
    gauge(QUEUE_PENDING, "Entries that a worker has and did not acknowledge yet", WORKER, Later),
    gauge(
        QUEUE_OLDEST_AGE_SECONDS,
        "Age of the oldest entry that waits, in seconds",
        WORKER,
        Later,
    ),
    gauge(DEAD_LETTERS, "Dead letters that nobody has redriven or purged", WORKER, Later),
    counter(PUBLISH_FAILURES_TOTAL, "Publications that Redis refused", WRITERS, One),
    gauge(REDIS_UP, "1 while Redis answers, else 0", &Service::ALL, Later),
    gauge(POSTGRES_UP, "1 while Postgres answers, else 0", COLD, Later),
    histogram(ACCEPT_SECONDS, "Seconds from a request to its acceptance", INGEST, One),
    histogram(
        QUEUE_WAIT_SECONDS,
        "Seconds from the acceptance of an entry until it was stored",
        WORKER,
        One,
    ),
    histogram(STORE_SECONDS, "Seconds that a batch took to be stored", WORKER, One),
    histogram(BATCH_ENTRIES, "Entries that were stored in one transaction", WORKER, One),
    gauge(LEADER, "1 while this process leads by a lease, 0 while it is a spare", PUBLISHER, Later),
    gauge(CONNECTIONS, "Connections that are open", FANOUT, One),
    gauge(
        SUBSCRIPTIONS,
        "Open connections that have a feed",
        FANOUT,
        Each("feed", &["messages", "plays", "pulse", "rising", "stats"]),
    ),
    counter(DELIVERIES_TOTAL, "Frames handed to connections", FANOUT, One),
    counter(
        DROPPED_TOTAL,
        "Frames that a slow connection did not get, and connections that did not read their Close",
        FANOUT,
        Each("reason", &["slow_consumer", "close_timeout"]),
    ),
    counter(CLOSED_TOTAL, "Connections closed", FANOUT, Each("code", &CODES)),
    counter(
        RESUMES_TOTAL,
        "Connections that handed in a position",
        FANOUT,
        Each("result", &["resumed", "window", "data_lost", "unknown_position"]),
    ),
    histogram(
        DELIVERY_SECONDS,
        "Seconds from the acceptance of a message until it was written to the connections",
        FANOUT,
        One,
    ),
    counter(PLAY_FRAMES_TOTAL, "Frames of play counts that were published", PUBLISHER, One),
    counter(
        SNAPSHOTS_TOTAL,
        "Runs of the statistics",
        PUBLISHER,
        Each("result", &["published", "failed", "late", "filling"]),
    ),
    histogram(SNAPSHOT_SECONDS, "Seconds that a run of the statistics took", PUBLISHER, One),
    gauge(SNAPSHOT_AGE_SECONDS, "Seconds since the last snapshot", PUBLISHER, Later),
    counter(
        RISING_CALLS_TOTAL,
        "Calls of the service that knows visitors",
        PUBLISHER,
        Each("result", &["answered", "refused", "limited", "failed"]),
    ),
    counter(RISING_SAMPLES_TOTAL, "Samples of visitors that were published", PUBLISHER, One),
    counter(
        RISING_SAMPLES_DROPPED_TOTAL,
        "Samples of visitors that were published and are not stored",
        PUBLISHER,
        One,
    ),
];
