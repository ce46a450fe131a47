//! Keeps storing below a number of rows per second.

use std::{num::NonZeroU32, time::Duration};

use mayfly_runtime::settings;

/// How many batches a process stores at the same time: while Postgres works on one, the next is on
/// its way. Under a throttle there is one, which alone keeps the rate.
pub fn writers(settings: &settings::Persist) -> usize {
    if settings.rows_per_second_max.is_some() { 1 } else { settings.writers }
}

/// A limit of rows per second, or none.
#[derive(Debug, Clone, Copy)]
pub struct Throttle(Option<NonZeroU32>);

impl Throttle {
    /// Of the configuration.
    pub fn new(rows_per_second_max: Option<NonZeroU32>) -> Self {
        Self(rows_per_second_max)
    }

    /// The largest batch: never more than a second's worth.
    pub fn batch_rows(self, rows_max: usize) -> usize {
        let second = self.0.and_then(|rate| usize::try_from(rate.get()).ok());
        second.map_or(rows_max, |second| rows_max.min(second))
    }

    /// How long to rest after so many rows were stored.
    pub fn rest_after(self, rows: usize) -> Duration {
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
    fn a_throttle_rests_as_long_as_the_rows_should_have_taken() {
        let throttle = Throttle::new(NonZeroU32::new(100));
        assert_eq!(throttle.batch_rows(2_000), 100);
        assert_eq!(throttle.rest_after(50), Duration::from_millis(500));
        assert_eq!(Throttle::new(None).rest_after(50), Duration::ZERO);
    }
}
