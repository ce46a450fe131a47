//! Request counters and durations.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use actix_web::http::{Method, StatusCode};
use metrics::{Counter, Histogram};

use crate::metrics as names;

/// The label value for unknown paths and uncommon methods. Clients choose paths and methods, but
/// the number of label values must be bounded.
pub(super) const OTHER: &str = "other";
/// The `route` label value for all upgrade requests.
pub(crate) const UPGRADE_ROUTE: &str = "upgrade";

/// The metric series of one server thread. Each series is looked up once.
#[derive(Clone, Default)]
pub(super) struct RequestMetrics {
    series: RefCell<HashMap<(&'static str, &'static str, StatusCode), Series>>,
}

#[derive(Clone)]
struct Series {
    total: Counter,
    /// The histogram for the route, over all methods and statuses.
    duration: Histogram,
}

impl RequestMetrics {
    /// Records a completed request. `route` is the path pattern, or `None` if no resource matched.
    pub(super) fn record(
        &self,
        method: &Method,
        route: Option<&'static str>,
        status: StatusCode,
        duration: Duration,
    ) {
        let (method, route) = (method_label(method), route.unwrap_or(OTHER));
        let mut series = self.series.borrow_mut();
        let series = series.entry((route, method, status)).or_insert_with(|| Series {
            total: request_counter(method, route, status),
            duration: metrics::histogram!(names::HTTP_REQUEST_DURATION_SECONDS, "route" => route),
        });
        series.total.increment(1);
        series.duration.record(duration);
    }
}

fn request_counter(method: &'static str, route: &'static str, status: StatusCode) -> Counter {
    let status = status.as_str().to_owned();
    metrics::counter!(names::HTTP_REQUESTS_TOTAL, "method" => method, "route" => route, "status" => status)
}

/// Counts an upgrade request that receives a response with `status`. Upgrade requests do not pass
/// through the middleware.
pub(crate) fn count_upgrade(status: StatusCode) {
    request_counter("GET", UPGRADE_ROUTE, status).increment(1);
}

/// Returns the label value for a method.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}
