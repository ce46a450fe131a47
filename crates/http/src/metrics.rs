//! The metrics of public ports.

use mayfly_runtime::metrics::{Metric, Series};

/// Requests answered on the public port, by `method`, `route` (the path pattern) and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "mayfly_http_requests_total";
/// Time from receiving the head of a request until its response is ready to be sent, by `route`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "mayfly_http_request_duration_seconds";

/// Metrics of every process that serves a public port.
pub const METRICS: &[Metric] = &[
    Metric::counter(HTTP_REQUESTS_TOTAL, "Requests answered on the public port", Series::Later),
    Metric::duration_histogram(
        HTTP_REQUEST_DURATION_SECONDS,
        "Time in seconds from receiving the head of a request until its response is ready to be sent",
        Series::Later,
    ),
];
