//! The metrics that stats-publisher exports.

use mayfly_cold::metrics as cold;
use mayfly_hot::metrics as hot;
use mayfly_http::metrics as http;
use mayfly_runtime::metrics::{Metric, Series};

/// Published frames of play counts.
pub(crate) const PLAY_FRAMES_TOTAL: &str = "mayfly_play_frames_total";
/// Snapshot runs, by `result`: `published`, `failed`, `late` (another publisher may have been
/// first), `filling` (the rollups are not complete yet).
pub(crate) const SNAPSHOTS_TOTAL: &str = "mayfly_snapshots_total";
/// Duration in seconds of a snapshot run, from reading Postgres to announcing the snapshot.
pub(crate) const SNAPSHOT_DURATION_SECONDS: &str = "mayfly_snapshot_duration_seconds";
/// Age in seconds of the data in the newest snapshot.
pub(crate) const SNAPSHOT_AGE_SECONDS: &str = "mayfly_snapshot_age_seconds";
/// Calls to the source of visitor counts, by `result`: `answered`, `limited` (429), `refused` (any
/// other 4xx), `failed`.
pub(crate) const RISING_CALLS_TOTAL: &str = "mayfly_rising_calls_total";
/// Published samples of a host's visitors.
pub(crate) const RISING_SAMPLES_TOTAL: &str = "mayfly_rising_samples_total";
/// Published samples that were not stored, because the queue was full or Postgres rejected them.
pub(crate) const RISING_SAMPLES_DROPPED_TOTAL: &str = "mayfly_rising_samples_dropped_total";

/// The tables of metrics: first the tables of the libraries, then the service's own table.
pub const METRICS: &[&[Metric]] =
    &[http::CONNECTIONS, hot::HEALTH, hot::PUBLICATIONS, hot::LEASES, cold::METRICS, OWN];

const OWN: &[Metric] = &[
    Metric::counter(PLAY_FRAMES_TOTAL, "Published frames of play counts", Series::One),
    Metric::counter(
        SNAPSHOTS_TOTAL,
        "Snapshot runs",
        Series::Each("result", &["published", "failed", "late", "filling"]),
    ),
    Metric::duration_histogram(
        SNAPSHOT_DURATION_SECONDS,
        "Duration in seconds of a snapshot run",
        Series::One,
    ),
    Metric::gauge(
        SNAPSHOT_AGE_SECONDS,
        "Age in seconds of the data in the newest snapshot",
        Series::Later,
    ),
    Metric::counter(
        RISING_CALLS_TOTAL,
        "Calls to the source of visitor counts",
        Series::Each("result", &["answered", "refused", "limited", "failed"]),
    ),
    Metric::counter(RISING_SAMPLES_TOTAL, "Published samples of visitors", Series::One),
    Metric::counter(
        RISING_SAMPLES_DROPPED_TOTAL,
        "Published samples of visitors that were not stored",
        Series::One,
    ),
];
