//! The problems that ingest-api reports to clients.

use std::time::Duration;

use mayfly_core::{FieldErrors, InputError, limits};
use mayfly_hot::Capacity;
use mayfly_http::{Code, Problem};

/// Returns the problem for a body or query that is not a valid message, play or visit.
pub fn invalid_input(error: InputError) -> Problem {
    match error {
        InputError::InvalidJson(detail) => Problem::new(Code::InvalidJson).detail(detail),
        InputError::InvalidItems(errors) => with_fields(Problem::new(Code::InvalidJson), errors),
        InputError::InvalidFields(errors) => with_fields(Problem::new(Code::InvalidField), errors),
    }
}

/// Returns the problem for a body that is not UTF-8.
pub fn not_utf8(error: std::str::Utf8Error) -> Problem {
    let offset = error.valid_up_to();
    Problem::new(Code::InvalidJson)
        .detail(format!("The request body is not valid UTF-8 at byte {offset}."))
}

/// Returns the problem for a write that exceeds a configured capacity.
pub fn capacity_exceeded(capacity: Capacity, kind: &str) -> Problem {
    match capacity {
        Capacity::Inbox => Problem::new(Code::InboxFull).detail(
            "The inbox has reached its maximum number of live messages. Take messages or wait \
             until they expire.",
        ),
        Capacity::Queue => Problem::new(Code::Overloaded)
            .detail(format!("The queue of {kind} is full."))
            .retry_after(Duration::from_secs(5)),
        Capacity::PagesPerHost => Problem::new(Code::Overloaded)
            .detail(
                "The host has reached its maximum number of pages with visitors. Visits to pages \
                 that already have visitors are still accepted.",
            )
            .retry_after(Duration::from_secs(30)),
        Capacity::Hosts => Problem::new(Code::Overloaded)
            .detail(
                "The maximum number of hosts with visitors is reached. Visits to hosts that \
                 already have visitors are still accepted.",
            )
            .retry_after(Duration::from_secs(30)),
        Capacity::HostsPerClient => Problem::new(Code::RateLimited)
            .detail(
                "The client has added the maximum number of hosts with visitors. Visits to hosts \
                 that already have visitors are still accepted.",
            )
            .retry_after(Duration::from_secs(30)),
    }
}

/// Returns the problem for an idempotency key that was used for a different request.
pub fn key_reused() -> Problem {
    let hours = limits::WRITE_IDEMPOTENCY_TTL.as_secs() / 3_600;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "The Idempotency-Key was used for a different request within the last {hours} hours."
    ))
}

/// Returns the problem for a stored outcome in a format that this version of the service does not
/// support.
pub fn unknown_record_format() -> Problem {
    Problem::new(Code::Internal)
        .caused_by("the outcome stored under the Idempotency-Key has an unknown format")
}

/// Returns the problem for a key in Redis that another program has overwritten.
pub fn unreadable_key(key: &str, error: &str) -> Problem {
    Problem::new(Code::Internal).caused_by(format!("the key {key} in Redis is unreadable: {error}"))
}

fn with_fields(problem: Problem, errors: FieldErrors) -> Problem {
    errors.into_iter().fold(problem, |problem, error| problem.field(error.field, error.message))
}
