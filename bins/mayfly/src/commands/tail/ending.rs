//! How a connection can end, and what follows from it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::readable::escape;

/// The first pause is at most this long, and every further one at most twice as long as that before.
const PAUSE_LEAST: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// No server may send us away for longer.
const ASKED_PAUSE_MOST: Duration = Duration::from_mins(5);

/// Why a connection ended, or was not made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server said why.
    Closed { code: u16, reason: String },
    /// The server did not upgrade.
    Refused { status: u16, retry_after: Option<Duration> },
    /// It broke, without a word of the server.
    Broken(String),
    /// It cannot be made, however often it is tried.
    Impossible(String),
}

impl Ending {
    /// How long to wait until the next try, which is the one after so many; none when there is to be none. Where the
    /// server does not say how long, it is any part of a pause that doubles: clients that were cut off together do
    /// not come back together.
    pub(crate) fn pause(&self, failures: u32, part: f64) -> Option<Duration> {
        let any =
            || PAUSE_LEAST.saturating_mul(1 << failures.min(16)).min(PAUSE_MOST).mul_f64(part);
        match self {
            Self::Closed { code: 4500..=4999, .. } | Self::Impossible(_) => None,
            Self::Closed { reason, .. } => Some(asked_pause(reason).unwrap_or_else(any)),
            Self::Refused { status: 408 | 425 | 429 | 500..=599, retry_after } => {
                let asked = retry_after.unwrap_or_default().min(ASKED_PAUSE_MOST);
                Some(asked + any())
            }
            Self::Refused { .. } => None,
            Self::Broken(_) => Some(any()),
        }
    }
}

/// The pause that a server asks for in the reason of a close.
fn asked_pause(reason: &str) -> Option<Duration> {
    let (_, rest) = reason.split_once("retry_after_ms=")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some(Duration::from_millis(digits.parse().ok()?).min(ASKED_PAUSE_MOST))
}

impl Display for Ending {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } if reason.is_empty() => write!(f, "closed with {code}"),
            Self::Closed { code, reason } => write!(f, "closed with {code}: {}", escape(reason)),
            Self::Refused { status, .. } => write!(f, "refused with status {status}"),
            Self::Broken(why) | Self::Impossible(why) => f.write_str(&escape(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, reason: &str) -> Ending {
        Ending::Closed { code, reason: reason.to_owned() }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let broken = Ending::Broken("reset".to_owned());
        let longest =
            |failures| broken.pause(failures, 1.0).expect("it is tried again").as_millis();
        assert_eq!([0, 1, 2, 6, 99].map(longest), [500, 1_000, 2_000, 30_000, 30_000]);
        assert_eq!(broken.pause(3, 0.0), Some(Duration::ZERO), "any part of it");
    }

    #[test]
    fn the_pause_that_a_server_asks_for_is_kept() {
        let drain = closed(1001, "retry_after_ms=2345");
        assert_eq!(drain.pause(9, 0.5), Some(Duration::from_millis(2_345)));
        let for_ever = closed(1001, "retry_after_ms=99999999999");
        assert_eq!(for_ever.pause(0, 0.0), Some(ASKED_PAUSE_MOST));
        assert_eq!(closed(4000, "slow_consumer").pause(0, 1.0), Some(PAUSE_LEAST));
        let busy = Ending::Refused { status: 503, retry_after: Some(Duration::from_secs(2)) };
        assert_eq!(busy.pause(0, 0.0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_no_further_try_can_mend_is_the_end() {
        assert_eq!(closed(4500, "bad_request").pause(0, 0.0), None);
        assert_eq!(closed(4999, "").pause(0, 0.0), None);
        assert_eq!(Ending::Refused { status: 404, retry_after: None }.pause(0, 0.0), None);
        assert!(closed(4499, "").pause(0, 0.0).is_some());
    }
}
