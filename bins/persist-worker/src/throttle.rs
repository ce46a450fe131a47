//! A limit on the number of rows that a worker stores per second. Each stream entry counts as one
//! row.

use std::{num::NonZeroU32, time::Duration};

use mayfly_runtime::settings;

/// Returns the number of workers that store messages concurrently. Returns 1 if a rate limit is
/// set, because each worker would apply the limit separately.
pub fn writer_count(settings: &settings::PersistSettings) -> usize {
    if settings.rows_per_second_max.is_some() { 1 } else { settings.writers }
}

/// An optional limit on rows per second.
#[derive(Debug, Clone, Copy)]
pub struct Throttle(Option<NonZeroU32>);

impl Throttle {
    /// Creates a throttle. `None` means no limit.
    pub fn new(rows_per_second_max: Option<NonZeroU32>) -> Self {
        Self(rows_per_second_max)
    }

    /// Returns the maximum number of rows in a batch: `rows_max`, or the limit per second if that
    /// is lower.
    pub fn batch_rows(self, rows_max: usize) -> usize {
        let second = self.0.and_then(|rate| usize::try_from(rate.get()).ok());
        second.map_or(rows_max, |second| rows_max.min(second))
    }

    /// Returns the minimum time that storing `rows` rows must take, or zero if there is no limit.
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
