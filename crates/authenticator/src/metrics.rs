//! The metrics of authentication.

use mayfly_runtime::metrics::{Metric, Series};
use metrics::Counter;

use crate::{AuthError, Rejection};

/// Authenticated requests and connections, by `result`.
pub const AUTHENTICATIONS_TOTAL: &str = "mayfly_authentications_total";
/// Accepted credentials that the process has cached.
pub const AUTH_CACHE_ENTRIES: &str = "mayfly_auth_cache_entries";

/// The metrics of every process with an [`Authenticator`](crate::Authenticator).
pub const METRICS: &[Metric] = &[
    Metric::counter(
        AUTHENTICATIONS_TOTAL,
        "Authenticated requests and connections, by result",
        Series::Each("result", &RESULTS),
    ),
    Metric::gauge(AUTH_CACHE_ENTRIES, "Accepted credentials in the cache", Series::One),
];

/// The values of the label `result`.
const RESULTS: [&str; 8] = [
    "accepted",
    "missing",
    "unknown",
    "expired",
    "revoked",
    "rate_limited",
    "not_loaded",
    "unavailable",
];

/// The counters of authentications, one per result.
pub(crate) struct Counters([Counter; RESULTS.len()]);

impl Counters {
    /// Registers the counters.
    pub(crate) fn register() -> Self {
        Self(RESULTS.map(|result| metrics::counter!(AUTHENTICATIONS_TOTAL, "result" => result)))
    }

    /// Counts an authentication.
    pub(crate) fn record<T>(&self, result: &Result<T, AuthError>) {
        let index = match result {
            Ok(_) => 0,
            Err(AuthError::Missing) => 1,
            Err(AuthError::Invalid(Rejection::Unknown)) => 2,
            Err(AuthError::Invalid(Rejection::Expired)) => 3,
            Err(AuthError::Invalid(Rejection::Revoked)) => 4,
            Err(AuthError::RateLimited { .. }) => 5,
            Err(AuthError::NotLoaded) => 6,
            Err(AuthError::Unavailable) => 7,
        };
        self.0[index].increment(1);
    }
}
