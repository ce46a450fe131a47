//! What goes wrong, as callers see it.

use std::time::Duration;

use mayfly_cold::ColdError;
use mayfly_core::limits;
use mayfly_hot::HotError;
use mayfly_http::{Code, Problem};

/// Redis gave no answer of use.
pub fn of_hot(error: &HotError) -> Problem {
    let code = match error {
        HotError::Overloaded | HotError::Full => Code::Overloaded,
        HotError::Unavailable(_) | HotError::Timeout | HotError::NoGroup => Code::Unavailable,
        HotError::Refused(_) => Code::Internal,
    };
    Problem::new(code).caused_by(error)
}

/// Postgres gave no answer of use.
pub fn of_cold(error: &ColdError) -> Problem {
    let code = match error {
        ColdError::Unavailable(_) | ColdError::Timeout | ColdError::NotMigrated(_) => {
            Code::Unavailable
        }
        ColdError::Refused(_) => Code::Internal,
    };
    Problem::new(code).caused_by(error)
}

/// Another take was asked for under this key.
pub fn key_reused() -> Problem {
    let minutes = limits::TAKE_REPEATABLE_FOR.as_secs() / 60;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "another take was done under this Idempotency-Key within {minutes} minutes"
    ))
}

/// There is no such message.
pub fn no_message() -> Problem {
    Problem::new(Code::NotFound).detail("there is no message with this id")
}

/// Nobody ever played this video.
pub fn no_plays() -> Problem {
    Problem::new(Code::NotFound).detail("nobody has played a video with this id")
}

/// Nobody takes the pulse: no stats-publisher runs, or it cannot reach Redis.
pub fn no_pulse() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("there is no pulse of the last seconds")
        .retry_after(Duration::from_secs(1))
}

/// Nobody sampled this host.
pub fn no_host() -> Problem {
    Problem::new(Code::NotFound).detail("nothing is known of this host")
}

/// The key or the host is missing, or the key is none for the host.
pub fn unauthorized() -> Problem {
    Problem::new(Code::Unauthorized).detail("there is no such key for this host")
}

/// Nobody can say yet which keys there are: Redis lost them a moment ago.
pub fn keys_not_back() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("the keys are not all known yet")
        .retry_after(Duration::from_secs(1))
}

/// The source of visitors knows no such key for this host.
pub fn upstream_refused() -> Problem {
    Problem::new(Code::UpstreamRefused)
}

/// The source of visitors failed, and what it said before is too old.
pub fn upstream_failed() -> Problem {
    Problem::new(Code::UpstreamFailed)
}

/// A cursor that this service did not give out, or of another walk.
pub fn invalid_cursor(rule: &'static str) -> Problem {
    Problem::new(Code::InvalidCursor).field("cursor", rule)
}

/// A name in the path breaks its rule.
pub fn invalid_name(field: &'static str, rule: &'static str) -> Problem {
    Problem::new(Code::InvalidField).field(field, rule)
}
