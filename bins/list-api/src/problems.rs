//! The problems that list-api reports to clients.

use std::time::Duration;

use mayfly_core::limits;
use mayfly_http::{Code, Problem};

/// Returns the problem that the idempotency key was used for a different take.
pub fn key_reused() -> Problem {
    let minutes = limits::TAKE_IDEMPOTENCY_TTL.as_secs() / 60;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "The Idempotency-Key was used for a different take within the last {minutes} minutes."
    ))
}

/// Returns the problem that the message does not exist.
pub fn message_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No message has this ID.")
}

/// Returns the problem that the video was never played.
pub fn plays_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No plays are recorded for this video.")
}

/// Returns the problem that no recent pulse exists: no stats-publisher is running, or it cannot
/// reach Redis.
pub fn no_pulse() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("No pulse was published in the last few seconds.")
        .retry_after(Duration::from_secs(1))
}

/// Returns the problem that the host was never sampled.
pub fn host_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No data is recorded for this host.")
}

/// Returns the problem that the key or the host is missing, or that the key is not valid for the
/// host.
pub fn unauthorized() -> Problem {
    Problem::new(Code::Unauthorized).detail("The API key is not valid for this host.")
}

/// Returns the problem that Redis lost the keys and they are not yet reloaded.
pub fn keys_not_loaded() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("The API keys are being loaded.")
        .retry_after(Duration::from_secs(1))
}

/// Returns the problem that the source of visitors rejected the key for this host.
pub fn upstream_rejected() -> Problem {
    Problem::new(Code::UpstreamRefused)
}

/// Returns the problem that the source of visitors failed and its last response is too old.
pub fn upstream_failed() -> Problem {
    Problem::new(Code::UpstreamFailed)
}

/// Returns the problem that the cursor was not issued by this service, or was issued for the other
/// order.
pub fn invalid_cursor(rule: &'static str) -> Problem {
    Problem::new(Code::InvalidCursor).field("cursor", rule)
}

/// Returns the problem that a name in the path is invalid.
pub fn invalid_name(field: &'static str, rule: &'static str) -> Problem {
    Problem::new(Code::InvalidField).field(field, rule)
}
