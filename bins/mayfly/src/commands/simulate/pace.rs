//! How long requests took.

use std::time::Duration;

/// The times of requests, in their order.
#[derive(Debug, Default)]
pub(super) struct Pace(Vec<Duration>);

impl Pace {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn sum(&self) -> Duration {
        self.0.iter().sum()
    }

    pub(super) fn slowest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// The sums of so many at a time; what is left over at the end is no full one.
    pub(super) fn sums_of(&self, count: usize) -> Self {
        Self(self.0.chunks_exact(count).map(|chunk| chunk.iter().sum()).collect())
    }

    pub(super) fn first(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(super) fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// A time as it is shown: three digits are more than it is worth.
pub(super) fn show(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.2} ms", seconds * 1_000.0),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        seconds => format!("{seconds:.2} s"),
    }
}

/// So many in that time, a second.
#[expect(clippy::cast_precision_loss, reason = "it is shown to a whole one")]
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_together() {
        let mut pace = Pace::default();
        for millis in [5, 1, 9, 2, 4, 7, 100] {
            pace.add(Duration::from_millis(millis));
        }
        let millis = Duration::from_millis;
        assert_eq!(
            (pace.median(), pace.slowest(), pace.sum()),
            (millis(5), millis(100), millis(128))
        );
        let sums = pace.sums_of(3);
        assert_eq!((sums.len(), sums.first(), sums.last()), (2, millis(15), millis(13)));
        assert_eq!(Pace::default().median(), Duration::ZERO);
    }

    #[test]
    fn a_time_is_shown_with_its_unit() {
        let shown = [900, 12_345, 1_234_567].map(|micros| show(Duration::from_micros(micros)));
        assert_eq!(shown, ["0.90 ms", "12 ms", "1.23 s"]);
    }
}
