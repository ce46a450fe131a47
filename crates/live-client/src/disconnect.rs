//! The reasons for a disconnection, and the retry policy for each reason.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::terminal::escape;

/// The maximum backoff after the first failure. The maximum doubles with each further failure, up
/// to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_millis(500);
/// The maximum backoff after any number of failures.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// The upper limit for a delay that a server requests.
const REQUESTED_DELAY_MAX: Duration = Duration::from_mins(5);

/// The reason for a closed connection or a failed connection attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The server sent a Close frame.
    Closed {
        /// The close code.
        code: u16,
        /// The reason, which may be empty.
        reason: String,
    },
    /// The server rejected the upgrade.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The value of `Retry-After`, if it is a number of seconds.
        retry_after: Option<Duration>,
    },
    /// The connection was lost without a Close frame, or could not be established. A retry may
    /// help.
    Lost(String),
    /// The connection cannot be established, and a retry would be useless.
    Unreachable(String),
}

impl Disconnect {
    /// Returns whether the server rejected the credentials, or requires some and received none.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Closed { code: 4502, .. } | Self::Rejected { status: 401, .. })
    }

    /// Returns the delay before the next attempt, or `None` if a retry would be useless. `failures`
    /// is the number of failures before this one.
    ///
    /// If the server requests no delay, the delay is an exponential backoff multiplied by `jitter`,
    /// a number from 0 to 1, so that clients that were disconnected together do not reconnect
    /// together. A delay that a Close frame requests replaces the backoff. A delay in `Retry-After`
    /// is added to the backoff.
    pub fn retry_delay(&self, failures: u32, jitter: f64) -> Option<Duration> {
        let backoff =
            || DELAY_MIN.saturating_mul(1 << failures.min(16)).min(DELAY_MAX).mul_f64(jitter);
        match self {
            Self::Closed { code: 4500..=4999, .. } | Self::Unreachable(_) => None,
            Self::Closed { reason, .. } => {
                Some(parse_requested_delay(reason).unwrap_or_else(backoff))
            }
            Self::Rejected { status: 408 | 425 | 429 | 500..=599, retry_after } => {
                let requested = retry_after.unwrap_or_default().min(REQUESTED_DELAY_MAX);
                Some(requested + backoff())
            }
            Self::Rejected { .. } => None,
            Self::Lost(_) => Some(backoff()),
        }
    }
}

/// Returns the delay that the server requests in the reason of a Close frame, limited to
/// [`REQUESTED_DELAY_MAX`]. Returns `None` if the reason contains no delay.
fn parse_requested_delay(reason: &str) -> Option<Duration> {
    let (_, rest) = reason.split_once("retry_after_ms=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Duration::from_millis(digits.parse().ok()?).min(REQUESTED_DELAY_MAX))
}

impl Display for Disconnect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } if reason.is_empty() => {
                write!(f, "closed with code {code}")
            }
            Self::Closed { code, reason } => {
                write!(f, "closed with code {code}: {}", escape(reason))
            }
            Self::Rejected { status, .. } => write!(f, "rejected with status {status}"),
            Self::Lost(reason) | Self::Unreachable(reason) => f.write_str(&escape(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, reason: &str) -> Disconnect {
        Disconnect::Closed { code, reason: reason.to_owned() }
    }

    #[test]
    fn delay_doubles_up_to_the_limit() {
        let lost = Disconnect::Lost("reset".to_owned());
        let longest = |failures| lost.retry_delay(failures, 1.0).expect("a retry").as_millis();
        assert_eq!([0, 1, 2, 6, 99].map(longest), [500, 1_000, 2_000, 30_000, 30_000]);
        assert_eq!(lost.retry_delay(3, 0.0), Some(Duration::ZERO), "full jitter");
    }

    #[test]
    fn requested_delay_is_respected_up_to_a_limit() {
        let drain = closed(1001, "retry_after_ms=2345");
        assert_eq!(drain.retry_delay(9, 0.5), Some(Duration::from_millis(2_345)));
        let excessive = closed(1001, "retry_after_ms=99999999999");
        assert_eq!(excessive.retry_delay(0, 0.0), Some(REQUESTED_DELAY_MAX));
        assert_eq!(closed(4000, "slow_consumer").retry_delay(0, 1.0), Some(DELAY_MIN));
        let busy = Disconnect::Rejected { status: 503, retry_after: Some(Duration::from_secs(2)) };
        assert_eq!(busy.retry_delay(0, 0.0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        assert_eq!(closed(4500, "bad_request").retry_delay(0, 0.0), None);
        assert_eq!(closed(4999, "").retry_delay(0, 0.0), None);
        let not_found = Disconnect::Rejected { status: 404, retry_after: None };
        assert_eq!(not_found.retry_delay(0, 0.0), None);
        assert!(closed(4499, "").retry_delay(0, 0.0).is_some());
    }

    #[test]
    fn expired_token_is_retried_but_rejected_credentials_are_not() {
        let expired = closed(4003, "token_expired");
        assert!(expired.retry_delay(0, 0.0).is_some() && !expired.is_unauthorized());
        for code in [4502, 4503] {
            assert_eq!(closed(code, "").retry_delay(0, 0.0), None);
        }
        assert!(closed(4502, "unauthorized").is_unauthorized());
        assert!(Disconnect::Rejected { status: 401, retry_after: None }.is_unauthorized());
        assert!(!closed(4503, "revoked").is_unauthorized());
    }
}
