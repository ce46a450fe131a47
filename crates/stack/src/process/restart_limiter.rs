//! Limits how often a failing process is restarted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const STARTS_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(5);

/// A limiter that counts the recent starts after which a process did not become ready. Too many of
/// these starts cause a pause before the next start.
#[derive(Debug, Default)]
pub(crate) struct RestartLimiter {
    failed_starts: VecDeque<Instant>,
}

impl RestartLimiter {
    /// If there were five failed starts in ten seconds, resets their count and returns the pause
    /// before the next start. Otherwise, returns `None`.
    pub(crate) fn take_pause(&mut self, now: Instant) -> Option<Duration> {
        self.failed_starts.retain(|start| now.duration_since(*start) < WINDOW);
        if self.failed_starts.len() < STARTS_MAX {
            return None;
        }
        self.failed_starts.clear();
        Some(PAUSE)
    }

    pub(crate) fn record_start(&mut self, now: Instant) {
        self.failed_starts.push_back(now);
    }

    pub(crate) fn record_ready(&mut self) {
        self.failed_starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_starts(limiter: &mut RestartLimiter, count: usize, now: Instant) {
        (0..count).for_each(|_| limiter.record_start(now));
    }

    #[test]
    fn five_failed_starts_in_ten_seconds_cause_one_pause() {
        let (mut limiter, now) = (RestartLimiter::default(), Instant::now());
        record_starts(&mut limiter, 4, now);
        assert_eq!(limiter.take_pause(now), None);
        record_starts(&mut limiter, 1, now);
        assert_eq!(limiter.take_pause(now), Some(PAUSE));
        assert_eq!(limiter.take_pause(now), None, "five more starts are allowed after the pause");
    }

    #[test]
    fn ready_process_resets_the_count() {
        let (mut limiter, now) = (RestartLimiter::default(), Instant::now());
        record_starts(&mut limiter, 5, now);
        limiter.record_ready();
        assert_eq!(limiter.take_pause(now), None);
    }

    #[test]
    fn old_starts_do_not_count() {
        let (mut limiter, now) = (RestartLimiter::default(), Instant::now());
        record_starts(&mut limiter, 5, now);
        assert_eq!(limiter.take_pause(now + WINDOW), None);
    }
}
