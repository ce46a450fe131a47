//! The schedule on which a drain closes connections.

use std::time::{Duration, Instant};

/// A schedule for closing all connections evenly over a duration.
pub(crate) struct DrainSchedule {
    started_at: Instant,
    duration: Duration,
    connections: usize,
    closed: usize,
}

impl DrainSchedule {
    pub(crate) fn start(duration: Duration, connections: usize) -> Self {
        Self { started_at: Instant::now(), duration, connections, closed: 0 }
    }

    /// Returns the number of connections that are due to be closed. After the duration, returns
    /// `usize::MAX`, because all connections are due.
    pub(crate) fn count_due(&self, now: Instant) -> usize {
        let elapsed = now - self.started_at;
        if elapsed >= self.duration {
            return usize::MAX;
        }
        scale(self.connections, elapsed, self.duration).saturating_sub(self.closed)
    }

    pub(crate) fn add_closed(&mut self, connections: usize) {
        self.closed += connections;
    }
}

/// Returns `total * elapsed / duration`, at most `total`.
fn scale(total: usize, elapsed: Duration, duration: Duration) -> usize {
    let part = total as u128 * elapsed.as_nanos() / duration.as_nanos().max(1);
    usize::try_from(part).unwrap_or(total).min(total)
}
