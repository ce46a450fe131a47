//! Messages that are due one after the other, whether or not the machine keeps up.

use std::time::Duration;

use crate::fan_out::stamp::now_us;

/// So many messages at a rate, from an instant on.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rate: f64,
    /// How many.
    pub count: u64,
    started_us: u64,
}

impl Pace {
    /// Begins now, and lasts about so long.
    pub fn lasting(rate: f64, duration: Duration) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few, and some"
        )]
        let count = (rate * duration.as_secs_f64()).ceil() as u64;
        Self::beginning_now(rate, count)
    }

    /// Begins now.
    pub fn beginning_now(rate: f64, count: u64) -> Self {
        Self { rate, count, started_us: now_us() }
    }

    /// When a message is due, in microseconds since 1970.
    pub fn due_us(&self, index: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let after = Duration::from_secs_f64(index as f64 / self.rate);
        self.started_us + u64::try_from(after.as_micros()).unwrap_or(u64::MAX)
    }

    /// How many are due by now.
    pub fn due(&self) -> u64 {
        let elapsed = Duration::from_micros(now_us().saturating_sub(self.started_us));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few, and some"
        )]
        let due = (elapsed.as_secs_f64() * self.rate) as u64 + 1;
        due.min(self.count)
    }

    /// Returns when a message is due.
    pub async fn wait_for(&self, index: u64) {
        let left = self.due_us(index).saturating_sub(now_us());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    /// How it is written on a command line.
    pub fn describe(&self) -> String {
        format!("{} {}", self.rate, self.count)
    }

    /// Reads what [`Pace::describe`] wrote; it begins now.
    pub fn read(text: &str) -> Option<Self> {
        let (rate, count) = text.split_once(' ')?;
        Some(Self::beginning_now(rate.parse().ok()?, count.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_follows_the_rate() {
        let pace = Pace { started_us: now_us() - 1_000_000, ..Pace::beginning_now(100.0, 1_000) };
        assert!((101..=110).contains(&pace.due()), "{}", pace.due());
        assert_eq!(pace.due_us(100), pace.started_us + 1_000_000);
        let over = Pace { count: 50, ..pace };
        assert_eq!(over.due(), 50);
    }

    #[test]
    fn a_pace_is_read_as_it_was_described() {
        let read = Pace::read(&Pace::beginning_now(90.5, 7).describe()).expect("it is one");
        assert!((read.rate - 90.5).abs() < f64::EPSILON && read.count == 7);
        assert!(Pace::read("fast").is_none());
    }
}
