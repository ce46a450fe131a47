//! Send times of messages, independent of whether the machine keeps up.

use std::{fmt, time::Duration};

use super::timestamp::now_us;

/// A number of messages at a constant rate from a start time.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    rate: f64,
    /// The number of messages.
    pub count: u64,
    started_us: u64,
}

impl Schedule {
    /// Creates a schedule that starts now and lasts about this long.
    pub fn lasting(rate: f64, duration: Duration) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let count = (rate * duration.as_secs_f64()).ceil() as u64;
        Self::starting_now(rate, count)
    }

    /// Creates a schedule that starts now.
    pub fn starting_now(rate: f64, count: u64) -> Self {
        Self { rate, count, started_us: now_us() }
    }

    /// Returns the time at which a message is due, in microseconds since the Unix epoch.
    pub fn due_us(&self, index: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
        let after = Duration::from_secs_f64(index as f64 / self.rate);
        self.started_us + u64::try_from(after.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns the number of messages that are due.
    pub fn due(&self) -> u64 {
        let elapsed = Duration::from_micros(now_us().saturating_sub(self.started_us));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let due = (elapsed.as_secs_f64() * self.rate) as u64 + 1;
        due.min(self.count)
    }

    /// Waits until a message is due.
    pub async fn wait_for(&self, index: u64) {
        let delay_us = self.due_us(index).saturating_sub(now_us());
        tokio::time::sleep(Duration::from_micros(delay_us)).await;
    }

    /// Parses the output of [`fmt::Display`]. The schedule starts now.
    pub fn parse(text: &str) -> Option<Self> {
        let (rate, count) = text.split_once(' ')?;
        Some(Self::starting_now(rate.parse().ok()?, count.parse().ok()?))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rate, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_messages_follow_the_rate() {
        let schedule =
            Schedule { started_us: now_us() - 1_000_000, ..Schedule::starting_now(100.0, 1_000) };
        assert!((101..=110).contains(&schedule.due()), "{}", schedule.due());
        assert_eq!(schedule.due_us(100), schedule.started_us + 1_000_000);
        let shorter = Schedule { count: 50, ..schedule };
        assert_eq!(shorter.due(), 50);
    }

    #[test]
    fn schedule_round_trips_through_text() {
        let parsed = Schedule::parse(&Schedule::starting_now(90.5, 7).to_string())
            .expect("a valid schedule");
        assert!((parsed.rate - 90.5).abs() < f64::EPSILON && parsed.count == 7);
        assert!(Schedule::parse("fast").is_none());
    }
}
