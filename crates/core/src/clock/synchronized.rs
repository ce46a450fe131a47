//! A clock that follows a server's clock instead of the system clock.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use super::{Clock, Timestamp};

/// The offset before the first reading.
const UNKNOWN: i64 = i64::MIN;

/// An estimate of a server's clock.
///
/// The estimate advances with the machine's monotonic clock and is corrected by readings of the
/// server's clock, so a wrong or adjusted system clock does not affect the estimate. Immediately
/// after a reading, the error is at most the round-trip time of the reading. Before the first
/// reading, this clock returns the system time.
pub struct SynchronizedClock {
    system: Box<dyn Clock>,
    /// The zero point of the monotonic time.
    origin: Instant,
    /// The server's time minus the monotonic time, in microseconds.
    offset_micros: AtomicI64,
}

impl SynchronizedClock {
    /// Creates a clock without a reading of the server's clock. `system` is the system clock.
    pub fn new(system: impl Clock + 'static) -> Self {
        Self {
            system: Box::new(system),
            origin: Instant::now(),
            offset_micros: AtomicI64::new(UNKNOWN),
        }
    }

    /// Corrects the clock with a reading that the server took between `sent` and `received`.
    /// `unix_micros` is the reading in microseconds since the Unix epoch.
    ///
    /// An estimate that agrees with the reading does not change, so network jitter does not affect
    /// the clock.
    pub fn observe(&self, sent: Instant, received: Instant, unix_micros: i64) {
        let (sent, received) = (self.micros_at(sent), self.micros_at(received));
        // The true offset is within these bounds.
        let (least, most) = (unix_micros - received, unix_micros - sent);
        let offset = match self.offset_micros.load(Ordering::Relaxed) {
            UNKNOWN => i64::midpoint(least, most),
            known => known.clamp(least, most.max(least)),
        };
        self.offset_micros.store(offset, Ordering::Relaxed);
    }

    /// Returns whether the server's clock has been read.
    pub fn is_synchronized(&self) -> bool {
        self.offset_micros.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Returns how far the system clock is ahead of the server's clock, in milliseconds. The result
    /// is negative if the system clock is behind, and zero before the first reading.
    pub fn difference_ms(&self) -> i64 {
        if !self.is_synchronized() {
            return 0;
        }
        self.system.now().as_millis() - self.now().as_millis()
    }

    fn micros_at(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX)
    }
}

impl Clock for SynchronizedClock {
    fn now(&self) -> Timestamp {
        match self.offset_micros.load(Ordering::Relaxed) {
            UNKNOWN => self.system.now(),
            offset => {
                let micros = self.micros_at(Instant::now()).saturating_add(offset);
                Timestamp::from_millis(micros.div_euclid(1_000))
            }
        }
    }
}

impl fmt::Debug for SynchronizedClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset_micros.load(Ordering::Relaxed);
        let mut clock = formatter.debug_struct("SynchronizedClock");
        clock.field("offset_micros", &offset).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2026-11-20T19:07:00.123Z on the server's clock, in microseconds since the Unix epoch.
    const SERVER: i64 = 1_795_201_620_123_000;
    const HOUR_MS: i64 = 3_600_000;

    /// A system clock that does not advance.
    struct Stopped(i64);

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }

    /// Returns a clock with a system clock that is an hour ahead of the server's clock.
    fn clock() -> SynchronizedClock {
        SynchronizedClock::new(Stopped(SERVER / 1_000 + HOUR_MS))
    }

    fn offset(clock: &SynchronizedClock) -> i64 {
        clock.offset_micros.load(Ordering::Relaxed)
    }

    #[test]
    fn clock_follows_the_server_and_not_the_system_clock() {
        let clock = clock();
        assert_eq!(clock.now().as_millis(), SERVER / 1_000 + HOUR_MS);
        assert!(!clock.is_synchronized());
        let before = Instant::now();
        clock.observe(before, before, SERVER);
        let (now, most) = (clock.now().as_millis(), before.elapsed().as_millis());
        let passed = now - SERVER / 1_000;
        assert!((0..=i64::try_from(most).expect("it fits") + 1).contains(&passed), "{passed}");
        assert!(clock.is_synchronized());
        assert!((HOUR_MS - passed - 5_000..=HOUR_MS).contains(&clock.difference_ms()));
    }

    #[test]
    fn reading_that_agrees_does_not_change_the_estimate() {
        let clock = clock();
        let at = |ms: u64| clock.origin + Duration::from_millis(ms);
        clock.observe(at(100), at(102), SERVER);
        let known = offset(&clock);
        assert_eq!(known, SERVER - 101_000);
        // The server took this reading at some time within these 700 ms.
        clock.observe(at(1_000), at(1_700), SERVER + 1_200_000);
        assert_eq!(offset(&clock), known);
    }

    #[test]
    fn reading_that_disagrees_corrects_the_clock_by_the_least_amount() {
        let clock = clock();
        let at = |ms: u64| clock.origin + Duration::from_millis(ms);
        clock.observe(at(0), at(700), SERVER);
        assert_eq!(offset(&clock), SERVER - 350_000);
        // This reading limits the offset to 698 to 700 ms below `SERVER`.
        clock.observe(at(1_000), at(1_002), SERVER + 302_000);
        assert_eq!(offset(&clock), SERVER - 698_000);
        // The server's clock is set forward by an hour, and then back.
        clock.observe(at(2_000), at(2_010), SERVER + 3_600_000_000 + 2_000_000);
        assert_eq!(offset(&clock), SERVER + 3_600_000_000 - 10_000);
        clock.observe(at(3_000), at(3_010), SERVER + 3_000_000);
        assert_eq!(offset(&clock), SERVER);
    }
}
