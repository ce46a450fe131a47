//! When a process that died is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const STARTS_MAX: usize = 5;
const STARTS_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(5);

/// Remembers the starts that never got ready, to pause when they are too many.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    unready: VecDeque<Instant>,
}

impl Restarts {
    /// Says how long to wait before a start: not at all, but after five in ten seconds that never got ready.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.unready.retain(|start| now.duration_since(*start) < STARTS_WITHIN);
        if self.unready.len() < STARTS_MAX {
            return None;
        }
        self.unready.clear();
        Some(PAUSE)
    }

    pub(crate) fn note_start(&mut self, now: Instant) {
        self.unready.push_back(now);
    }

    pub(crate) fn note_ready(&mut self) {
        self.unready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(restarts: &mut Restarts, count: usize, now: Instant) {
        (0..count).for_each(|_| restarts.note_start(now));
    }

    #[test]
    fn five_starts_in_ten_seconds_that_never_got_ready_bring_a_pause() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        start(&mut restarts, 4, now);
        assert_eq!(restarts.pause(now), None);
        start(&mut restarts, 1, now);
        assert_eq!(restarts.pause(now), Some(PAUSE));
        assert_eq!(restarts.pause(now), None, "after the pause it has five starts again");
    }

    #[test]
    fn a_start_that_got_ready_wipes_the_slate() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        start(&mut restarts, 5, now);
        restarts.note_ready();
        assert_eq!(restarts.pause(now), None);
    }

    #[test]
    fn starts_far_apart_bring_none() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        start(&mut restarts, 5, now);
        assert_eq!(restarts.pause(now + STARTS_WITHIN), None);
    }
}
