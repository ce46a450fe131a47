//! Logging of failed requests.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{outage_log::REPEAT_INTERVAL, redact, ticker};

/// A request that failed because of the service or of its dependencies.
#[derive(Clone, Copy, Debug)]
pub struct FailedRequest<'a> {
    /// The path pattern of the route.
    pub route: &'static str,
    /// The stable identifier of the problem.
    pub code: &'static str,
    /// The status of the response.
    pub status: u16,
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The request ID.
    pub request_id: &'a str,
    /// The internal cause.
    pub cause: Option<&'a str>,
}

/// The log of failed requests of a process. Clones share one state.
///
/// Of the requests that fail on one route with one code, the first one is logged immediately, and
/// then the number per minute with one example. Every failure is logged at `debug`; metrics count
/// all of them. The number of lines therefore does not depend on the number of requests.
#[derive(Clone, Debug, Default)]
pub struct FailureLog {
    failures: Arc<Mutex<HashMap<(&'static str, &'static str), Failures>>>,
}

/// The failures on one route with one code since the last line.
#[derive(Debug)]
struct Failures {
    logged_at: Instant,
    count: u64,
    example: Example,
}

#[derive(Debug, Default)]
struct Example {
    status: u16,
    request_id: String,
    cause: Option<String>,
}

impl FailureLog {
    /// Logs or counts a failed request. Connection strings in its cause are redacted.
    pub fn record(&self, request: &FailedRequest<'_>) {
        let FailedRequest { route, code, status, method, path, request_id, cause } = *request;
        let cause = cause.map(redact);
        let cause = cause.as_deref();
        if self.count(request, cause, Instant::now()) {
            error!(
                request.id = request_id,
                http.method = method,
                http.path = path,
                http.route = route,
                http.status = status,
                code,
                cause,
                "request failed"
            );
        } else {
            debug!(request.id = request_id, http.status = status, code, cause, "request failed");
        }
    }

    /// Logs the failures of the last minute, once a minute. Never completes.
    pub(crate) async fn run(self) {
        let mut ticks = ticker(REPEAT_INTERVAL / 4);
        loop {
            ticks.tick().await;
            for (route, code, failures) in self.take_due(Instant::now()) {
                error!(
                    http.route = route,
                    http.status = failures.example.status,
                    code,
                    requests.failed = failures.count,
                    request.id = failures.example.request_id,
                    cause = failures.example.cause,
                    "requests failed; one of them is named"
                );
            }
        }
    }

    /// Counts a failure. Returns whether it is the first one.
    fn count(&self, request: &FailedRequest<'_>, cause: Option<&str>, now: Instant) -> bool {
        let mut all = self.failures.lock();
        let key = (request.route, request.code);
        let Some(failures) = all.get_mut(&key) else {
            all.insert(key, Failures { logged_at: now, count: 0, example: Example::default() });
            return true;
        };
        failures.count += 1;
        if failures.count == 1 {
            failures.example = Example {
                status: request.status,
                request_id: request.request_id.to_owned(),
                cause: cause.map(str::to_owned),
            };
        }
        false
    }

    /// Takes the failures whose last line is a minute old. Forgets those without new failures.
    fn take_due(&self, now: Instant) -> Vec<(&'static str, &'static str, Failures)> {
        let mut due = Vec::new();
        self.failures.lock().retain(|&(route, code), failures| {
            if now.duration_since(failures.logged_at) < REPEAT_INTERVAL {
                return true;
            }
            if failures.count == 0 {
                return false;
            }
            let next = Failures { logged_at: now, count: 0, example: Example::default() };
            due.push((route, code, std::mem::replace(failures, next)));
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(route: &'static str, request_id: &'static str) -> FailedRequest<'static> {
        FailedRequest {
            route,
            code: "unavailable",
            status: 503,
            method: "POST",
            path: route,
            request_id,
            cause: Some("Redis is unavailable"),
        }
    }

    #[test]
    fn failures_are_summarized_once_a_minute_per_route_and_code() {
        let (log, start) = (FailureLog::default(), Instant::now());
        let count = |route, id| log.count(&request(route, id), Some("cause"), start);
        assert!(count("/a", "first"));
        for id in ["second", "third"] {
            assert!(!count("/a", id));
        }
        assert!(count("/b", "other route"));
        assert!(log.take_due(start).is_empty());

        let later = start + REPEAT_INTERVAL;
        let due = log.take_due(later);
        let [(route, code, failures)] = due.as_slice() else { panic!("one summary: {due:?}") };
        assert_eq!((*route, *code, failures.count), ("/a", "unavailable", 2));
        assert_eq!(failures.example.request_id, "second");
        assert!(count("/b", "after a minute without failures"), "it is forgotten");

        assert!(log.take_due(later).is_empty(), "it was just logged");
        log.take_due(later + REPEAT_INTERVAL);
        assert!(count("/a", "after a minute without failures"), "it is forgotten");
    }
}
