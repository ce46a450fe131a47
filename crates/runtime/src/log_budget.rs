//! A bound of the lines that one kind of event can log.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::outage_log::REPEAT_INTERVAL;

/// The number of lines per minute that one kind of event may log, for events that are worth a line
/// each as long as they are rare.
#[derive(Debug)]
pub struct LogBudget {
    lines_max: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the current minute began, and the lines that it has.
    minute: Option<(Instant, u32)>,
    suppressed: u64,
}

impl LogBudget {
    /// Creates a budget of `lines_max` lines per minute.
    pub fn new(lines_max: u32) -> Self {
        Self { lines_max, state: Mutex::default() }
    }

    /// Takes a line. Returns the number of events since the last line that had none, or `None` if
    /// the budget is used up.
    pub fn take(&self) -> Option<u64> {
        self.state.lock().take(self.lines_max, Instant::now())
    }
}

impl State {
    fn take(&mut self, lines_max: u32, now: Instant) -> Option<u64> {
        let (began, lines) = self
            .minute
            .filter(|(began, _)| now.duration_since(*began) < REPEAT_INTERVAL)
            .unwrap_or((now, 0));
        if lines >= lines_max {
            self.suppressed += 1;
            return None;
        }
        self.minute = Some((began, lines + 1));
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_per_minute_are_bounded_and_suppressed_events_are_counted() {
        let (mut state, start) = (State::default(), Instant::now());
        let taken: Vec<_> = (0..5).map(|_| state.take(2, start)).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        assert_eq!(state.take(2, start + REPEAT_INTERVAL), Some(3));
        assert_eq!(state.take(2, start + REPEAT_INTERVAL), Some(0));
    }
}
