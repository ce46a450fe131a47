//! Schedules for work that is due once per clock interval, regardless of which instance does it.

use std::time::Duration;

use mayfly_core::Timestamp;

/// Clock intervals of equal length, aligned to the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    interval_ms: i64,
}

impl Schedule {
    /// Creates a schedule with intervals of the given length.
    pub fn new(interval: Duration) -> Self {
        let millis = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        Self { interval_ms: millis.max(1) }
    }

    /// Returns whether the current interval has no result yet: the last result is from an earlier
    /// interval, or there is no result.
    pub fn is_due(self, last: Option<Timestamp>, now: Timestamp) -> bool {
        last.is_none_or(|last| self.index(last) < self.index(now))
    }

    /// Returns the start of the current interval.
    pub fn interval_start(self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.index(now).saturating_mul(self.interval_ms))
    }

    /// Returns the time until the next interval begins.
    pub fn until_next(self, now: Timestamp) -> Duration {
        let next = (self.index(now) + 1).saturating_mul(self.interval_ms);
        Timestamp::from_millis(next).since(now)
    }

    fn index(self, at: Timestamp) -> i64 {
        at.as_millis().div_euclid(self.interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn result_is_due_if_there_is_none() {
        assert!(Schedule::new(MINUTE).is_due(None, at(61)));
    }

    #[test]
    fn result_is_due_once_per_minute_of_the_clock() {
        let schedule = Schedule::new(MINUTE);
        assert!(schedule.is_due(Some(at(119)), at(120)));
        assert!(!schedule.is_due(Some(at(120)), at(179)));
        assert!(!schedule.is_due(Some(at(180)), at(179)), "the clock of another instance is ahead");
    }

    #[test]
    fn intervals_are_aligned_to_the_clock() {
        let schedule = Schedule::new(MINUTE);
        assert_eq!(schedule.until_next(at(120)), MINUTE);
        assert_eq!(schedule.until_next(at(179)), Duration::from_secs(1));
        assert_eq!(schedule.interval_start(at(179)), at(120));
    }
}
