//! A limit on the number of rows that are stored per second.

use std::{num::NonZeroU32, time::Duration};

use mayfly_runtime::settings;

/// Returns how many batches a process stores concurrently, so that Postgres never waits for the
/// next one. With a throttle there is a single writer, which enforces the rate.
pub fn writer_count(settings: &settings::PersistSettings) -> usize {
    if settings.rows_per_second_max.is_some() { 1 } else { settings.writers }
}

/// A limit of rows per second, or none.
#[derive(Debug, Clone, Copy)]
pub struct Throttle(Option<NonZeroU32>);

impl Throttle {
    /// Creates the throttle, or one without a limit.
    pub fn new(rows_per_second_max: Option<NonZeroU32>) -> Self {
        Self(rows_per_second_max)
    }

    /// Returns the maximum number of rows of a batch: at most the rows of one second.
    pub fn batch_rows(self, rows_max: usize) -> usize {
        let second = self.0.and_then(|rate| usize::try_from(rate.get()).ok());
        second.map_or(rows_max, |second| rows_max.min(second))
    }

    /// Returns the minimum duration of storing `rows` rows.
    pub fn min_duration(self, rows: usize) -> Duration {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.0.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(f64::from(rows) / f64::from(rate.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_limits_batches_and_their_duration() {
        let throttle = Throttle::new(NonZeroU32::new(100));
        assert_eq!(throttle.batch_rows(2_000), 100);
        assert_eq!(throttle.min_duration(50), Duration::from_millis(500));
        assert_eq!(Throttle::new(None).min_duration(50), Duration::ZERO);
    }
}
