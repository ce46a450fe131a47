//! Metrics for public and admin ports.

use mayfly_runtime::metrics::{Metric, Series};

/// Requests answered on the public port, by `method`, `route` (the path pattern) and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "mayfly_http_requests_total";
/// Time from receiving the head of a request until its response is ready to be sent, by `route`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "mayfly_http_request_duration_seconds";
/// Open connections to the public port, without upgraded ones.
pub const HTTP_CONNECTIONS: &str = "mayfly_http_connections";
/// The number of connections at which the public port accepts no more.
pub const HTTP_CONNECTIONS_MAX: &str = "mayfly_http_connections_max";
/// Bytes of responses that clients have not read.
pub const HTTP_UNREAD_BYTES: &str = "mayfly_http_unread_bytes";
/// Requests refused because there was no memory for their heads or bodies.
pub const HTTP_BODIES_REFUSED_TOTAL: &str = "mayfly_http_bodies_refused_total";
/// Connections that the server closed because the client was too slow, by `reason`.
pub const HTTP_CONNECTIONS_CLOSED_TOTAL: &str = "mayfly_http_connections_closed_total";

/// The head of a request did not arrive in time.
pub(crate) const CLOSED_HEAD_TIMEOUT: &str = "head_timeout";
/// The client read nothing for `http.write_timeout`.
pub(crate) const CLOSED_WRITE_TIMEOUT: &str = "write_timeout";
/// The unread bytes of all clients of a port exceeded `http.bodies_bytes_max`.
pub(crate) const CLOSED_UNREAD: &str = "unread";

/// Metrics of every process that serves a public port.
pub const METRICS: &[Metric] = &[
    Metric::counter(HTTP_REQUESTS_TOTAL, "Requests answered on the public port", Series::Later),
    Metric::duration_histogram(
        HTTP_REQUEST_DURATION_SECONDS,
        "Time in seconds from receiving the head of a request until its response is ready to be sent",
        Series::Later,
    ),
    Metric::gauge(
        HTTP_CONNECTIONS,
        "Open connections to the public port, without WebSockets",
        Series::One,
    ),
    Metric::gauge(
        HTTP_CONNECTIONS_MAX,
        "The number of connections at which the public port accepts no more",
        Series::Later,
    ),
];

/// Connection metrics for the public and admin ports of every process.
pub const CONNECTIONS: &[Metric] = &[
    Metric::counter(
        HTTP_BODIES_REFUSED_TOTAL,
        "Requests refused because there was no memory for their heads or bodies",
        Series::One,
    ),
    Metric::gauge(HTTP_UNREAD_BYTES, "Bytes of responses that clients have not read", Series::One),
    Metric::counter(
        HTTP_CONNECTIONS_CLOSED_TOTAL,
        "Connections that the server closed because the client was too slow, by reason",
        Series::Each("reason", &[CLOSED_HEAD_TIMEOUT, CLOSED_WRITE_TIMEOUT, CLOSED_UNREAD]),
    ),
];
