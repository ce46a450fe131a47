//! The delay between two connection attempts.

use std::time::Duration;

use crate::disconnect::Disconnect;

/// An attempt that lasts at least this long, including the time that its connection was open,
/// resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// A counter of consecutive failures, which determines the delay before the next attempt.
#[derive(Debug, Default)]
pub struct ReconnectBackoff {
    failures: u32,
}

impl ReconnectBackoff {
    /// Counts the failure and returns the delay before the next attempt. If a retry would be
    /// useless, returns `None` without counting. `lasted` is the duration of the last attempt,
    /// including the time that its connection was open.
    pub fn next_delay(&mut self, disconnect: &Disconnect, lasted: Duration) -> Option<Duration> {
        if lasted >= STABLE_AFTER {
            self.failures = 0;
        }
        let delay = disconnect.retry_delay(self.failures, fastrand::f64())?;
        self.failures += 1;
        Some(delay)
    }
}
