//! The problems that list-api reports to clients.

use std::time::Duration;

use mayfly_core::limits;
use mayfly_http::{Code, Problem};

/// The idempotency key was used for a different take.
pub fn key_reused() -> Problem {
    let minutes = limits::TAKE_IDEMPOTENCY_TTL.as_secs() / 60;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "The Idempotency-Key was used for a different take within the last {minutes} minutes."
    ))
}

/// The message does not exist.
pub fn message_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No message has this id.")
}

/// The video was never played.
pub fn plays_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No plays are recorded for this video.")
}

/// No recent pulse exists: no stats-publisher is running, or it cannot reach Redis.
pub fn no_pulse() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("No pulse was published in the last few seconds.")
        .retry_after(Duration::from_secs(1))
}

/// The host was never sampled.
pub fn host_not_found() -> Problem {
    Problem::new(Code::NotFound).detail("No data is recorded for this host.")
}

/// The key or the host is missing, or the key is not valid for the host.
pub fn unauthorized() -> Problem {
    Problem::new(Code::Unauthorized).detail("The API key is not valid for this host.")
}

/// Redis lost the keys and they are not reloaded yet.
pub fn keys_not_loaded() -> Problem {
    Problem::new(Code::Unavailable)
        .detail("The API keys are being loaded.")
        .retry_after(Duration::from_secs(1))
}

/// The source of visitors rejected the key for this host.
pub fn upstream_rejected() -> Problem {
    Problem::new(Code::UpstreamRefused)
}

/// The source of visitors failed and its last answer is too old.
pub fn upstream_failed() -> Problem {
    Problem::new(Code::UpstreamFailed)
}

/// The cursor was not issued by this service, or for a list in the other order.
pub fn invalid_cursor(rule: &'static str) -> Problem {
    Problem::new(Code::InvalidCursor).field("cursor", rule)
}

/// A name in the path is invalid.
pub fn invalid_name(field: &'static str, rule: &'static str) -> Problem {
    Problem::new(Code::InvalidField).field(field, rule)
}
