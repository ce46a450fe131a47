//! A limit on the number of log lines for one kind of event.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::outage_log::REPEAT_INTERVAL;

/// A limit on the number of log lines per minute for one kind of event. Events within the limit are
/// logged individually.
#[derive(Debug)]
pub struct LogBudget {
    lines_max: u32,
    state: Mutex<BudgetState>,
}

#[derive(Debug, Default)]
struct BudgetState {
    /// The start of the current minute, and the number of lines logged in it.
    minute: Option<(Instant, u32)>,
    /// The number of events suppressed since the last line.
    suppressed: u64,
}

impl LogBudget {
    /// Creates a budget of `lines_max` lines per minute.
    pub fn new(lines_max: u32) -> Self {
        Self { lines_max, state: Mutex::default() }
    }

    /// Takes one line from the budget, and returns the number of events suppressed since the last
    /// line. If the budget is used up, counts a suppressed event and returns `None`.
    pub fn take(&self) -> Option<u64> {
        self.state.lock().take(self.lines_max, Instant::now())
    }
}

impl BudgetState {
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
        let (mut state, start) = (BudgetState::default(), Instant::now());
        let taken: Vec<_> = (0..5).map(|_| state.take(2, start)).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        assert_eq!(state.take(2, start + REPEAT_INTERVAL), Some(3));
        assert_eq!(state.take(2, start + REPEAT_INTERVAL), Some(0));
    }
}
