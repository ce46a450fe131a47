//! When something is due: once in each interval of the clock, whoever does it.

use std::time::Duration;

use mayfly_core::Timestamp;

/// The intervals of the clock, counted from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    interval_ms: i64,
}

impl Schedule {
    /// Intervals of this length.
    pub fn new(interval: Duration) -> Self {
        let millis = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        Self { interval_ms: millis.max(1) }
    }

    /// Whether the present interval has no snapshot yet: the last one is of an earlier interval, or
    /// there is none.
    pub fn is_due(self, last: Option<Timestamp>, now: Timestamp) -> bool {
        last.is_none_or(|last| self.number(last) < self.number(now))
    }

    /// When the present interval began.
    pub fn last(self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.number(now).saturating_mul(self.interval_ms))
    }

    /// How long it is until the next interval begins.
    pub fn until_next(self, now: Timestamp) -> Duration {
        let next = (self.number(now) + 1).saturating_mul(self.interval_ms);
        Timestamp::from_millis(next).since(now)
    }

    fn number(self, at: Timestamp) -> i64 {
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
    fn a_snapshot_is_due_where_there_is_none() {
        assert!(Schedule::new(MINUTE).is_due(None, at(61)));
    }

    #[test]
    fn a_snapshot_is_due_once_in_each_minute_of_the_clock() {
        let schedule = Schedule::new(MINUTE);
        assert!(schedule.is_due(Some(at(119)), at(120)));
        assert!(!schedule.is_due(Some(at(120)), at(179)));
        assert!(!schedule.is_due(Some(at(180)), at(179)), "another clock is ahead");
    }

    #[test]
    fn the_next_minute_begins_where_the_clock_says() {
        let schedule = Schedule::new(MINUTE);
        assert_eq!(schedule.until_next(at(120)), MINUTE);
        assert_eq!(schedule.until_next(at(179)), Duration::from_secs(1));
        assert_eq!(schedule.last(at(179)), at(120));
    }
}
