//! What a sender is told beside what was accepted.

use actix_web::http::header::HeaderMap;
use mayfly_hot::Allowance;
use mayfly_http::{IdempotencyKey, RateLimit};

/// What a sender is told beside what was accepted.
pub enum Receipt {
    /// It was written now; what is left, if there is a limit.
    New(Option<RateLimit>),
    /// It had been written before.
    Replayed,
}

impl Receipt {
    /// Writes it into the headers of the answer.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::New(None) => {}
            Self::New(Some(limit)) => limit.write_headers(headers),
            Self::Replayed => IdempotencyKey::mark_replayed(headers),
        }
    }
}

/// How a client stands against its limit of messages, plays or visits.
pub fn rate_limit(policy: &'static str, left: Allowance) -> RateLimit {
    let Allowance { rate, remaining, resets_in } = left;
    RateLimit { policy, rate, remaining, resets_in }
}
