//! Durations of requests.

use std::time::Duration;

/// The durations of requests or blocks of requests, in the order in which the requests were sent.
#[derive(Debug, Default)]
pub(crate) struct RequestTimes(Vec<Duration>);

impl RequestTimes {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sum(&self) -> Duration {
        self.0.iter().sum()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// Returns the sum of each block of `count` durations. Ignores an incomplete block at the end.
    pub(crate) fn sum_blocks(&self, count: usize) -> Self {
        Self(self.0.chunks_exact(count).map(|block| block.iter().sum()).collect())
    }

    pub(crate) fn first(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// Formats a duration in milliseconds or seconds.
pub(crate) fn format_duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.2} ms", seconds * 1_000.0),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        seconds => format!("{seconds:.2} s"),
    }
}

/// Returns the number of items per second.
#[expect(clippy::cast_precision_loss, reason = "the number of items is far below 2^53")]
pub(crate) fn rate(count: u64, duration: Duration) -> f64 {
    count as f64 / duration.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_aggregated() {
        let mut times = RequestTimes::default();
        for millis in [5, 1, 9, 2, 4, 7, 100] {
            times.add(Duration::from_millis(millis));
        }
        let millis = Duration::from_millis;
        assert_eq!(
            (times.median(), times.slowest(), times.sum()),
            (millis(5), millis(100), millis(128))
        );
        let sums = times.sum_blocks(3);
        assert_eq!((sums.len(), sums.first(), sums.last()), (2, millis(15), millis(13)));
        assert_eq!(RequestTimes::default().median(), Duration::ZERO);
    }

    #[test]
    fn duration_is_formatted_with_its_unit() {
        let formatted =
            [900, 12_345, 1_234_567].map(|micros| format_duration(Duration::from_micros(micros)));
        assert_eq!(formatted, ["0.90 ms", "12 ms", "1.23 s"]);
    }
}
