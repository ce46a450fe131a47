//! What goes wrong, as callers see it.

use std::time::Duration;

use mayfly_core::{FieldErrors, Refusal, limits};
use mayfly_hot::{Full, HotError};
use mayfly_http::{Code, Problem};

/// What a client sent is no message, play or visit.
pub fn of_refusal(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::InvalidJson(detail) => Problem::new(Code::InvalidJson).detail(detail),
        Refusal::InvalidItems(errors) => with_fields(Problem::new(Code::InvalidJson), errors),
        Refusal::InvalidFields(errors) => with_fields(Problem::new(Code::InvalidField), errors),
    }
}

/// The body is no UTF-8, therefore no JSON.
pub fn not_utf8(error: std::str::Utf8Error) -> Problem {
    let at = error.valid_up_to();
    Problem::new(Code::InvalidJson).detail(format!("the body is not UTF-8 at byte {at}"))
}

/// Redis gave no answer of use.
pub fn of_hot(error: &HotError) -> Problem {
    let code = match error {
        HotError::Overloaded | HotError::Full => Code::Overloaded,
        HotError::Unavailable(_) | HotError::Timeout | HotError::NoGroup => Code::Unavailable,
        HotError::Refused(_) => Code::Internal,
    };
    Problem::new(code).caused_by(error)
}

/// There is no room for what was sent; `items` are what it was.
pub fn full(what: Full, items: &str) -> Problem {
    match what {
        Full::Inbox => Problem::new(Code::InboxFull).detail(
            "the inbox holds as many live messages as it may; take some, or wait until they expire",
        ),
        Full::Queue => Problem::new(Code::Overloaded)
            .detail(format!("too many {items} wait to be stored"))
            .retry_after(Duration::from_secs(5)),
        Full::Pages => Problem::new(Code::Overloaded)
            .detail("the host has as many pages with visitors as it may; visits to these are taken")
            .retry_after(Duration::from_secs(30)),
        Full::Hosts => Problem::new(Code::Overloaded)
            .detail(
                "there are as many hosts with visitors as there may be; visits to these are taken",
            )
            .retry_after(Duration::from_secs(30)),
    }
}

/// Another request was sent under this key.
pub fn key_reused() -> Problem {
    let hours = limits::WRITE_REPEATABLE_FOR.as_secs() / 3_600;
    Problem::new(Code::IdempotencyKeyReused).detail(format!(
        "another request was accepted under this Idempotency-Key within {hours} hours"
    ))
}

/// It was accepted before, by a version that kept something else of it.
pub fn unreadable() -> Problem {
    Problem::new(Code::Internal).caused_by("what is kept under the Idempotency-Key is unknown here")
}

fn with_fields(problem: Problem, errors: FieldErrors) -> Problem {
    errors.into_iter().fold(problem, |problem, error| problem.field(error.field, error.message))
}
