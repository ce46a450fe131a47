//! The metrics that ws-fanout exports.

use mayfly_authenticator::metrics as authenticator;
use mayfly_core::Feed;
use mayfly_hot::metrics as hot;
use mayfly_http::metrics as http;
use mayfly_runtime::metrics::{Metric, Series};

/// Open live connections.
pub(crate) const CONNECTIONS: &str = "mayfly_connections";
/// The maximum number of live connections.
pub(crate) const CONNECTIONS_MAX: &str = "mayfly_connections_max";
/// Open live connections that subscribe to a `feed`.
pub(crate) const SUBSCRIPTIONS: &str = "mayfly_subscriptions";
/// Frames enqueued for live connections.
pub(crate) const DELIVERIES_TOTAL: &str = "mayfly_deliveries_total";
/// Frames that were not delivered to a connection, by `reason`.
pub(crate) const FRAMES_DROPPED_TOTAL: &str = "mayfly_frames_dropped_total";
/// Bytes that live connections hold.
pub(crate) const QUEUED_BYTES: &str = "mayfly_queued_bytes";
/// Connections closed because `fanout.queued_bytes_max` was exceeded.
pub(crate) const MEMORY_CLOSES_TOTAL: &str = "mayfly_memory_closes_total";
/// Connections dropped before the client had read the Close frame.
pub(crate) const CLOSE_TIMEOUTS_TOTAL: &str = "mayfly_close_timeouts_total";
/// Closed connections, by close `code`, regardless of which side closed the connection.
pub(crate) const CONNECTIONS_CLOSED_TOTAL: &str = "mayfly_connections_closed_total";
/// Connections that were refused or closed because their client exceeded a `limit`, or because too
/// many connections were not authenticated.
pub(crate) const CLIENT_LIMITS_EXCEEDED_TOTAL: &str = "mayfly_client_limits_exceeded_total";
/// Connections that requested a replay from a position, by `result`.
pub(crate) const RESUMES_TOTAL: &str = "mayfly_resumes_total";
/// Time from when Redis accepted a stream entry to when its frames were flushed to the connections.
/// Recorded for the oldest entry in the batches that a worker handles together.
pub(crate) const DELIVERY_LATENCY_SECONDS: &str = "mayfly_delivery_latency_seconds";

/// All metric tables: the tables of the libraries, followed by the table of this service.
pub const METRICS: &[&[Metric]] =
    &[http::METRICS, http::CONNECTIONS, authenticator::METRICS, hot::HEALTH, OWN];

const OWN: &[Metric] = &[
    Metric::gauge(CONNECTIONS, "Open live connections", Series::One),
    Metric::gauge(CONNECTIONS_MAX, "The maximum number of live connections", Series::Later),
    Metric::gauge(
        SUBSCRIPTIONS,
        "Open live connections that subscribe to a feed",
        Series::Each("feed", &FEED_NAMES),
    ),
    Metric::counter(DELIVERIES_TOTAL, "Frames enqueued for live connections", Series::One),
    Metric::counter(
        FRAMES_DROPPED_TOTAL,
        "Frames that were not delivered to a connection",
        Series::Each("reason", &["slow_consumer", "overloaded", "unauthorized"]),
    ),
    Metric::gauge(
        QUEUED_BYTES,
        "Bytes that live connections hold: queued frames (each counted once), subscribed names, \
         patterns of tokens and incomplete client frames",
        Series::One,
    ),
    Metric::counter(
        MEMORY_CLOSES_TOTAL,
        "Connections closed because the queued bytes of the process reached their limit",
        Series::One,
    ),
    Metric::counter(
        CLOSE_TIMEOUTS_TOTAL,
        "Connections dropped before the client had read the Close frame",
        Series::One,
    ),
    Metric::counter(
        CONNECTIONS_CLOSED_TOTAL,
        "Closed live connections, by close code",
        Series::Each("code", &CLOSE_CODES),
    ),
    Metric::counter(
        CLIENT_LIMITS_EXCEEDED_TOTAL,
        "Connections that were refused or closed because their client exceeded a limit, or because \
         too many connections were not authenticated",
        Series::Each("limit", &["connections", "frames", "unauthenticated"]),
    ),
    Metric::counter(
        RESUMES_TOTAL,
        "Connections that requested a replay from a position",
        Series::Each("result", &["resumed", "window", "data_lost", "unknown_position"]),
    ),
    Metric::wait_histogram(
        DELIVERY_LATENCY_SECONDS,
        "Time in seconds from the acceptance of a message until it was written to the connections",
        Series::One,
    ),
];

/// The names of all feeds. Uses a loop, because `array::map` is not a const function.
const FEED_NAMES: [&str; Feed::ALL.len()] = {
    let mut names = [""; Feed::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Feed::ALL[index].as_str();
        index += 1;
    }
    names
};

/// The expected close codes: registered codes (<https://www.iana.org/assignments/websocket>) and
/// the application-specific codes, which start at 4000.
/// `other` counts every code that a client sends, except 1000 and 1001.
const CLOSE_CODES: [&str; 18] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1009", "4000", "4001", "4002", "4003",
    "4500", "4501", "4502", "4503", "4504", "other",
];
