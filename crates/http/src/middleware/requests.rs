//! How many requests there were, how they ended and how long they took, in metrics.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use actix_web::http::{Method, StatusCode};
use mayfly_runtime::metrics as names;
use metrics::{Counter, Histogram};

/// Stands for every path that no resource has: paths are the caller's, labels are few.
const OTHER: &str = "other";
/// Stands for whatever path a WebSocket is asked for at.
const UPGRADE: &str = "upgrade";

/// The series of one worker, each looked up once.
#[derive(Clone, Default)]
pub(super) struct Requests {
    series: RefCell<HashMap<(&'static str, &'static str, StatusCode), Series>>,
}

#[derive(Clone)]
struct Series {
    total: Counter,
    /// That of the route, whatever the method and the status.
    seconds: Histogram,
}

impl Requests {
    /// Counts a request that was answered; `route` is the pattern of its path, if there is one.
    pub(super) fn count(
        &self,
        method: &Method,
        route: Option<&'static str>,
        status: StatusCode,
        took: Duration,
    ) {
        let (method, route) = (name_method(method), route.unwrap_or(OTHER));
        let mut all = self.series.borrow_mut();
        let series = all.entry((route, method, status)).or_insert_with(|| Series {
            total: count_requests(method, route, status),
            seconds: metrics::histogram!(names::HTTP_REQUEST_SECONDS, "route" => route),
        });
        series.total.increment(1);
        series.seconds.record(took);
    }
}

fn count_requests(method: &'static str, route: &'static str, status: StatusCode) -> Counter {
    let status = status.as_str().to_owned();
    metrics::counter!(names::HTTP_REQUESTS_TOTAL, "method" => method, "route" => route, "status" => status)
}

/// Counts a request to upgrade that was answered: the layers around other requests do not see it.
pub(crate) fn count_upgrade(status: StatusCode) {
    count_requests("GET", UPGRADE, status).increment(1);
}

/// A method may be any word.
fn name_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}
