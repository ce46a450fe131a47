//! Logging of failed requests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{outage_log::REPEAT_INTERVAL, redact, ticker};

/// The interval before the first summary of failures of one kind. The interval doubles with each
/// summary, up to [`REPEAT_INTERVAL`].
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of requests that one line names, because some log collectors split very long
/// lines.
const NAMED_MAX: usize = 100;

/// A request that failed because of the service or its dependencies.
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
    /// The trace context.
    pub traceparent: &'a str,
    /// The internal cause.
    pub cause: Option<&'a str>,
}

/// The log of a process's failed requests. Clones share one state.
///
/// The first failure for each pair of route and code is logged immediately. Further failures with
/// the same pair are summarized, and each is also logged at `debug`. The interval between
/// summaries starts at 1 s and doubles up to 1 minute, so the number of summaries does not depend
/// on the number of requests. A summary contains the number of failures, one cause, and the request
/// IDs and trace contexts of up to [`NAMED_MAX`] requests. If no further failure occurs within a
/// minute after a line, the next failure is again logged immediately.
#[derive(Clone, Debug, Default)]
pub struct FailureLog {
    failures: Arc<Mutex<HashMap<Kind, Failures>>>,
}

/// The kind of a failure: the route and the problem code.
type Kind = (&'static str, &'static str);

/// The failures of one kind since the last line.
#[derive(Debug)]
struct Failures {
    logged_at: Instant,
    /// The minimum time from the last line to the next one.
    interval: Duration,
    count: u64,
    /// The status and the cause of the first of these failures.
    status: u16,
    cause: Option<String>,
    /// The request IDs and trace contexts of up to [`NAMED_MAX`] requests.
    request_ids: Vec<String>,
    traceparents: Vec<String>,
}

impl FailureLog {
    /// Logs or counts a failed request. Connection strings in the cause are redacted.
    pub fn record(&self, request: &FailedRequest<'_>) {
        let FailedRequest { route, code, status, method, path, request_id, traceparent, cause } =
            *request;
        let cause = cause.map(redact);
        let cause = cause.as_deref();
        if self.count(request, cause, Instant::now()) {
            error!(
                request.id = request_id,
                trace.parent = traceparent,
                http.method = method,
                http.path = path,
                http.route = route,
                http.status = status,
                code,
                cause,
                "request failed"
            );
        } else {
            debug!(
                request.id = request_id,
                trace.parent = traceparent,
                http.status = status,
                code,
                cause,
                "request failed"
            );
        }
    }

    /// Periodically logs the summaries that are due. Never completes.
    pub(crate) async fn run(self) {
        let mut ticks = ticker(FIRST_INTERVAL);
        loop {
            ticks.tick().await;
            log_failures(&self.take_due(Instant::now(), false));
        }
    }

    /// Logs all failures that have not been logged yet.
    pub(crate) fn flush(&self) {
        log_failures(&self.take_due(Instant::now(), true));
    }

    /// Returns whether a failure is the first of its kind and must be logged immediately.
    /// Otherwise, counts the failure for the next summary.
    fn count(&self, request: &FailedRequest<'_>, cause: Option<&str>, now: Instant) -> bool {
        let mut all = self.failures.lock();
        let kind = (request.route, request.code);
        let Some(failures) = all.get_mut(&kind) else {
            all.insert(kind, Failures::start(now, FIRST_INTERVAL));
            return true;
        };
        if failures.count == 0 {
            failures.status = request.status;
            failures.cause = cause.map(str::to_owned);
        }
        failures.count += 1;
        if failures.request_ids.len() < NAMED_MAX {
            failures.request_ids.push(request.request_id.to_owned());
            failures.traceparents.push(request.traceparent.to_owned());
        }
        false
    }

    /// Returns the failures to log and resets their counts. Unless `all` is set, returns only
    /// failures of the kinds for which the interval has elapsed. Removes a kind if a minute has
    /// passed since its last line and no further failure has occurred.
    fn take_due(&self, now: Instant, all: bool) -> Vec<(Kind, Failures)> {
        let mut due = Vec::new();
        self.failures.lock().retain(|&kind, failures| {
            let elapsed = now.duration_since(failures.logged_at);
            if failures.count == 0 {
                return elapsed < REPEAT_INTERVAL;
            }
            if all || elapsed >= failures.interval {
                let interval = (failures.interval * 2).min(REPEAT_INTERVAL);
                due.push((kind, std::mem::replace(failures, Failures::start(now, interval))));
            }
            true
        });
        due
    }
}

impl Failures {
    /// Creates an empty count of the failures after a line.
    fn start(logged_at: Instant, interval: Duration) -> Self {
        Self {
            logged_at,
            interval,
            count: 0,
            status: 0,
            cause: None,
            request_ids: Vec::new(),
            traceparents: Vec::new(),
        }
    }
}

fn log_failures(due: &[(Kind, Failures)]) {
    for ((route, code), failures) in due {
        error!(
            http.route = route,
            http.status = failures.status,
            code,
            cause = failures.cause,
            requests.failed = failures.count,
            request.ids = failures.request_ids.join(" "),
            trace.parents = failures.traceparents.join(" "),
            "requests failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(route: &'static str, request_id: &'a str) -> FailedRequest<'a> {
        FailedRequest {
            route,
            code: "unavailable",
            status: 503,
            method: "POST",
            path: route,
            request_id,
            traceparent: "00-ab-cd-01",
            cause: Some("Redis is unavailable"),
        }
    }

    /// Returns the counts and the request IDs of the failures to log.
    fn take(log: &FailureLog, now: Instant) -> Vec<(u64, Vec<String>)> {
        let due = log.take_due(now, false);
        due.into_iter().map(|(_, failures)| (failures.count, failures.request_ids)).collect()
    }

    #[test]
    fn failures_are_summarized_per_route_and_code_with_their_request_ids() {
        let (log, start) = (FailureLog::default(), Instant::now());
        let count = |route, id| log.count(&request(route, id), Some("cause"), start);
        assert!(count("/a", "first"));
        for id in ["second", "third"] {
            assert!(!count("/a", id));
        }
        assert!(count("/b", "other route"));
        assert!(take(&log, start).is_empty());

        let later = start + FIRST_INTERVAL;
        let due = log.take_due(later, false);
        let [((route, code), failures)] = due.as_slice() else { panic!("one summary: {due:?}") };
        assert_eq!((*route, *code, failures.count), ("/a", "unavailable", 2));
        assert_eq!((failures.status, failures.cause.as_deref()), (503, Some("cause")));
        assert_eq!(failures.request_ids, ["second", "third"]);
        assert_eq!(failures.traceparents, ["00-ab-cd-01"; 2]);
        assert!(take(&log, later).is_empty(), "the failures were just returned");

        assert!(!count("/b", "second"));
        assert_eq!(log.take_due(later, true).len(), 1, "at exit");
        log.take_due(later + REPEAT_INTERVAL, false);
        assert!(count("/a", "after a minute without failures"), "the kind was removed");
    }

    #[test]
    fn summaries_become_less_frequent_and_name_a_limited_number_of_requests() {
        let (log, start) = (FailureLog::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..240 {
            let now = start + Duration::from_secs(second);
            for number in 0..50 {
                log.count(&request("/a", &number.to_string()), None, now);
            }
            lines.extend(take(&log, now).iter().map(|(count, ids)| (second, *count, ids.len())));
        }
        let seconds: Vec<_> = lines.iter().map(|(second, ..)| *second).collect();
        assert_eq!(seconds, [1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(lines[0], (1, 99, 99), "all but the first one, which has its own line");
        assert_eq!(lines[7], (183, 3_000, NAMED_MAX));
    }
}
