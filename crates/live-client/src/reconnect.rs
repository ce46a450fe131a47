//! The delay between two connection attempts.

use std::time::Duration;

use crate::disconnect::Disconnect;

/// A connection that lasted this long was stable: the backoff is reset.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Counts failed attempts to compute the delay before the next one.
#[derive(Debug, Default)]
pub struct ReconnectBackoff {
    failures: u32,
}

impl ReconnectBackoff {
    /// Returns the delay before the next attempt, or `None` if a retry is useless. `lasted` is the
    /// duration of the last attempt and its connection.
    pub fn next_delay(&mut self, disconnect: &Disconnect, lasted: Duration) -> Option<Duration> {
        if lasted >= STABLE_AFTER {
            self.failures = 0;
        }
        let delay = disconnect.retry_delay(self.failures, fastrand::f64())?;
        self.failures += 1;
        Some(delay)
    }
}
