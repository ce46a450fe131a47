//! The limit on the rate of frames that a client sends over one connection.

use std::time::Instant;

use mayfly_runtime::settings::Rate;

/// The frames of a connection in the current window, which opens with its first frame.
pub(super) struct FrameRate {
    limit: Option<Rate>,
    received: u32,
    window_ends_at: Option<Instant>,
}

impl FrameRate {
    /// Creates the count with a limit; `None` means no limit.
    pub(super) fn new(limit: Option<Rate>) -> Self {
        Self { limit, received: 0, window_ends_at: None }
    }

    /// Returns the number of frames that the client may still send in the current window; `None`
    /// means no limit.
    pub(super) fn left(&mut self, now: Instant) -> Option<u32> {
        let limit = self.limit?;
        if self.window_ends_at.is_some_and(|at| now >= at) {
            self.received = 0;
            self.window_ends_at = None;
        }
        Some(limit.items.saturating_sub(self.received))
    }

    /// Counts the frames that the client has sent since [`Self::left`] returned `before`. `left` is
    /// the number of frames that it may still send.
    pub(super) fn count(&mut self, before: Option<u32>, left: Option<u32>, now: Instant) {
        let (Some(limit), Some(before), Some(left)) = (self.limit, before, left) else { return };
        let received = before.saturating_sub(left);
        if received > 0 {
            self.received += received;
            self.window_ends_at.get_or_insert(now + limit.window);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn frames_are_limited_per_window() {
        let second = Duration::from_secs(1);
        let mut rate = FrameRate::new(Some(Rate { items: 3, window: second }));
        let start = Instant::now();
        assert_eq!(rate.left(start), Some(3));
        rate.count(Some(3), Some(3), start);
        rate.count(Some(3), Some(1), start + second / 2);
        assert_eq!(rate.left(start + second), Some(1), "the window opened with the first frame");
        rate.count(Some(1), Some(0), start + second);
        assert_eq!(rate.left(start + second * 5 / 4), Some(0));
        assert_eq!(rate.left(start + second * 3 / 2), Some(3));
    }

    #[test]
    fn frames_are_not_limited_without_a_rate() {
        let mut rate = FrameRate::new(None);
        rate.count(None, None, Instant::now());
        assert_eq!(rate.left(Instant::now()), None);
    }
}
