//! A clock that follows the clock of a server instead of the system clock.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use super::{Clock, Timestamp};

/// The offset before the first observation.
const UNKNOWN: i64 = i64::MIN;

/// The clock of a server as this process estimates it.
///
/// It advances with the monotonic clock of the machine and is corrected by readings of the server's
/// clock, so a system clock that is wrong or is adjusted has no influence. The error is at most the
/// duration of a reading. Before the first reading it is the system clock.
pub struct SynchronizedClock {
    system: Box<dyn Clock>,
    /// The zero of the monotonic time.
    origin: Instant,
    /// The time of the server minus the monotonic time, in microseconds.
    offset_micros: AtomicI64,
}

impl SynchronizedClock {
    /// Creates a clock that has not read the server's clock yet. `system` is the system clock.
    pub fn new(system: impl Clock + 'static) -> Self {
        Self {
            system: Box::new(system),
            origin: Instant::now(),
            offset_micros: AtomicI64::new(UNKNOWN),
        }
    }

    /// Corrects the clock by a reading, in microseconds since the Unix epoch, that the server took
    /// between `sent` and `received`.
    ///
    /// An estimate that agrees with the reading is not changed, so the clock does not follow the
    /// jitter of the network.
    pub fn observe(&self, sent: Instant, received: Instant, unix_micros: i64) {
        let (sent, received) = (self.micros_at(sent), self.micros_at(received));
        // The server took the reading between these offsets.
        let (least, most) = (unix_micros - received, unix_micros - sent);
        let offset = match self.offset_micros.load(Ordering::Relaxed) {
            UNKNOWN => i64::midpoint(least, most),
            known => known.clamp(least, most.max(least)),
        };
        self.offset_micros.store(offset, Ordering::Relaxed);
    }

    /// Returns whether the clock of the server was read.
    pub fn is_synchronized(&self) -> bool {
        self.offset_micros.load(Ordering::Relaxed) != UNKNOWN
    }

    /// Returns by how many milliseconds the system clock is ahead of the server's clock; negative if
    /// it is behind, and zero before the first reading.
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

    /// 2026-11-20T19:07:00.123Z by the clock of the server.
    const SERVER: i64 = 1_795_201_620_123_000;
    const HOUR_MS: i64 = 3_600_000;

    /// A system clock that stands still.
    struct Stopped(i64);

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0)
        }
    }

    /// Returns a clock whose system clock is an hour ahead.
    fn clock() -> SynchronizedClock {
        SynchronizedClock::new(Stopped(SERVER / 1_000 + HOUR_MS))
    }

    fn offset(clock: &SynchronizedClock) -> i64 {
        clock.offset_micros.load(Ordering::Relaxed)
    }

    #[test]
    fn clock_follows_the_server_and_not_the_system() {
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
    fn reading_that_agrees_changes_nothing() {
        let clock = clock();
        let at = |ms: u64| clock.origin + Duration::from_millis(ms);
        clock.observe(at(100), at(102), SERVER);
        let known = offset(&clock);
        assert_eq!(known, SERVER - 101_000);
        // The server took this reading anywhere within 700 ms.
        clock.observe(at(1_000), at(1_700), SERVER + 1_200_000);
        assert_eq!(offset(&clock), known);
    }

    #[test]
    fn reading_that_disagrees_corrects_the_clock_by_the_least_amount() {
        let clock = clock();
        let at = |ms: u64| clock.origin + Duration::from_millis(ms);
        clock.observe(at(0), at(700), SERVER);
        assert_eq!(offset(&clock), SERVER - 350_000);
        // 250 ms later than the first reading allows at the earliest.
        clock.observe(at(1_000), at(1_002), SERVER + 302_000);
        assert_eq!(offset(&clock), SERVER - 698_000);
        // The clock of the server is set forward by an hour, and back.
        clock.observe(at(2_000), at(2_010), SERVER + 3_600_000_000 + 2_000_000);
        assert_eq!(offset(&clock), SERVER + 3_600_000_000 - 10_000);
        clock.observe(at(3_000), at(3_010), SERVER + 3_000_000);
        assert_eq!(offset(&clock), SERVER);
    }
}
