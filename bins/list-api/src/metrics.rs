//! The metrics that list-api exports.

use mayfly_authenticator::metrics as authenticator;
use mayfly_cold::metrics as cold;
use mayfly_hot::metrics as hot;
use mayfly_http::metrics as http;
use mayfly_runtime::metrics::Metric;

/// The tables of metrics. Libraries define all of them, because the service has no metrics of its
/// own.
pub const METRICS: &[&[Metric]] = &[
    http::METRICS,
    http::CONNECTIONS,
    authenticator::METRICS,
    hot::HEALTH,
    hot::PUBLICATIONS,
    cold::METRICS,
];
