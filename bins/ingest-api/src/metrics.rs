//! The metrics that ingest-api exports.

use mayfly_authenticator::metrics as authenticator;
use mayfly_hot::metrics as hot;
use mayfly_http::metrics as http;
use mayfly_runtime::metrics::{Metric, Series};

/// Accepted items, by `kind`.
pub(crate) const ACCEPTED_TOTAL: &str = "mayfly_accepted_total";
/// Time in seconds from parsing a write until Redis acknowledged it.
pub(crate) const ACCEPT_DURATION_SECONDS: &str = "mayfly_accept_duration_seconds";

/// The tables of metrics: first the tables of the libraries, then the service's own table.
pub const METRICS: &[&[Metric]] = &[
    http::METRICS,
    http::CONNECTIONS,
    authenticator::METRICS,
    hot::HEALTH,
    hot::PUBLICATIONS,
    OWN,
];

const OWN: &[Metric] = &[
    Metric::counter(
        ACCEPTED_TOTAL,
        "Accepted items",
        Series::Each("kind", &["messages", "plays", "visits"]),
    ),
    Metric::duration_histogram(
        ACCEPT_DURATION_SECONDS,
        "Time in seconds from parsing a write until Redis acknowledged it",
        Series::One,
    ),
];
