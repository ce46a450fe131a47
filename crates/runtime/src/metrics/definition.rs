//! The definition of a metric.

/// The upper bounds of the buckets, in seconds, for the duration of an operation with a time limit.
const DURATION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0, 60.0,
];
/// The upper bounds of the buckets, in seconds, for a wait that can last as long as an outage.
const WAIT_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];

/// The definition of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    pub(super) kind: Kind,
    pub(super) initial: Series,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram {
        /// The upper bounds of the buckets.
        buckets: &'static [f64],
    },
}

/// The series of a metric that are exported as 0 from the start. Without these series, `rate()`
/// would miss the first increment.
#[derive(Debug, Clone, Copy)]
pub enum Series {
    /// One series without labels.
    One,
    /// One series per value of a label.
    Each(&'static str, &'static [&'static str]),
    /// No series: 0 would be wrong, or the values of the labels are known only later.
    Later,
}

impl Metric {
    /// Defines a counter.
    pub const fn counter(name: &'static str, help: &'static str, initial: Series) -> Self {
        Self { name, help, kind: Kind::Counter, initial }
    }

    /// Defines a gauge.
    pub const fn gauge(name: &'static str, help: &'static str, initial: Series) -> Self {
        Self { name, help, kind: Kind::Gauge, initial }
    }

    /// Defines a histogram of the durations, in seconds, of an operation with a time limit. The
    /// buckets range from 0.5 ms to 1 min.
    pub const fn duration_histogram(
        name: &'static str,
        help: &'static str,
        initial: Series,
    ) -> Self {
        Self::histogram(name, help, DURATION_BUCKETS, initial)
    }

    /// Defines a histogram of waits, in seconds, that can last as long as an outage. The buckets
    /// range from 1 ms to 1 day.
    pub const fn wait_histogram(name: &'static str, help: &'static str, initial: Series) -> Self {
        Self::histogram(name, help, WAIT_BUCKETS, initial)
    }

    /// Defines a histogram with the given upper bounds of its buckets. At least one bucket is
    /// required.
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        buckets: &'static [f64],
        initial: Series,
    ) -> Self {
        Self { name, help, kind: Kind::Histogram { buckets }, initial }
    }
}
