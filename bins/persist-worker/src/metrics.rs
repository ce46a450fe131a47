//! The metrics that persist-worker exports.

use mayfly_cold::metrics as cold;
use mayfly_hot::{Stream, metrics as hot};
use mayfly_http::metrics as http;
use mayfly_runtime::metrics::{Metric, Series};

/// Items stored in Postgres, by `kind`.
pub(crate) const STORED_TOTAL: &str = "mayfly_stored_total";
/// Messages or plays that wait to be stored, by `stream`.
pub(crate) const QUEUE_DEPTH: &str = "mayfly_queue_depth";
/// All entries of a stream, including stored ones within the resume window, by `stream`.
pub(crate) const QUEUE_LENGTH: &str = "mayfly_queue_length";
/// Entries that have been delivered to a worker but not yet acknowledged, by `stream`.
pub(crate) const QUEUE_PENDING: &str = "mayfly_queue_pending";
/// Age in seconds of the oldest entry that waits to be stored, by `stream`.
pub(crate) const QUEUE_OLDEST_AGE_SECONDS: &str = "mayfly_queue_oldest_age_seconds";
/// Time in seconds from the acceptance of an entry until it was stored.
pub(crate) const QUEUE_WAIT_SECONDS: &str = "mayfly_queue_wait_seconds";
/// Entries in the dead-letter queue.
pub(crate) const DEAD_LETTERS: &str = "mayfly_dead_letters";
/// Items that Redis lost in epochs that ended within the last day, by `kind` and `bound`
/// (`at_least` or `at_most`).
pub(crate) const LOST_ITEMS: &str = "mayfly_lost_items";
/// Time in seconds to store one batch in Postgres.
pub(crate) const STORE_DURATION_SECONDS: &str = "mayfly_store_duration_seconds";
/// Entries per transaction.
pub(crate) const BATCH_ENTRIES: &str = "mayfly_batch_entries";

/// Upper bounds of the buckets of [`BATCH_ENTRIES`].
const BATCH_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// The tables of metrics: first the tables of the libraries, then the service's own table.
pub const METRICS: &[&[Metric]] =
    &[http::CONNECTIONS, hot::HEALTH, hot::LEASES, cold::METRICS, OWN];

const OWN: &[Metric] = &[
    Metric::counter(
        STORED_TOTAL,
        "Items stored in Postgres",
        Series::Each("kind", &[Stream::Messages.name(), Stream::Plays.name()]),
    ),
    Metric::gauge(QUEUE_DEPTH, "Messages or plays that wait to be stored", Series::Later),
    Metric::gauge(
        QUEUE_LENGTH,
        "All entries of a stream, including stored ones within the resume window",
        Series::Later,
    ),
    Metric::gauge(
        QUEUE_PENDING,
        "Entries that have been delivered to a worker but not yet acknowledged",
        Series::Later,
    ),
    Metric::gauge(
        QUEUE_OLDEST_AGE_SECONDS,
        "Age in seconds of the oldest entry that waits to be stored",
        Series::Later,
    ),
    Metric::wait_histogram(
        QUEUE_WAIT_SECONDS,
        "Time in seconds from the acceptance of an entry until it was stored",
        Series::One,
    ),
    Metric::gauge(DEAD_LETTERS, "Entries in the dead-letter queue", Series::Later),
    Metric::gauge(
        LOST_ITEMS,
        "Accepted items that Redis lost before they were stored, within the last day",
        Series::Later,
    ),
    Metric::duration_histogram(
        STORE_DURATION_SECONDS,
        "Time in seconds to store one batch in Postgres",
        Series::One,
    ),
    Metric::histogram(BATCH_ENTRIES, "Entries per transaction", BATCH_BUCKETS, Series::One),
];
