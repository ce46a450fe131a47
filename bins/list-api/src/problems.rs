//! The problems that list-api reports to clients.

use std::time::Duration;

use mayfly_core::limits;
use mayfly_http::{Code, Problem};

/// Returns the problem for an idempotency key that was used for a different take.
pub fn key_reused() -> Problem {
    let minutes = limits::TAKE_IDEMPOTENCY_TTL.as_secs() / 60;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "The Idempotency-Key was used for a different take within the last {minutes} minutes."
    ))
}

/// Returns the problem for a message that does not exist.
pub fn message_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No message has this ID.")
}

/// Returns the problem for a video that has never been played.
pub fn plays_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No plays are recorded for this video.")
}

/// Returns the problem for a missing pulse: no stats-publisher is running, or none can reach Redis.
pub fn no_pulse() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("No pulse was published in the last few seconds.")
        .retry_after(Duration::from_secs(1))
}

/// Returns the problem for a host without a recent sample.
pub fn host_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No data is recorded for this host.")
}

/// Returns the problem for a missing key or host, or a key that is not valid for the host.
pub fn unauthorized() -> Problem {
    Problem::new(Code::Unauthorized).detail("The API key is not valid for this host.")
}

/// Returns the problem for a key that the visitor source rejected for this host.
pub fn upstream_rejected() -> Problem {
    Problem::new(Code::UpstreamRefused)
}

/// Returns the problem for a visitor source that failed and has no recent response.
pub fn upstream_failed() -> Problem {
    Problem::new(Code::UpstreamFailed)
}

/// Returns the problem for a cursor that was not issued by this service, or was issued for a list
/// in the other order.
pub fn invalid_cursor(rule: &'static str) -> Problem {
    Problem::new(Code::InvalidCursor).field("cursor", rule)
}

/// Returns the problem for an invalid name in the path.
pub fn invalid_name(field: &'static str, rule: &'static str) -> Problem {
    Problem::new(Code::InvalidField).field(field, rule)
}
