//! What a sender is told beside what was accepted.

use actix_web::http::header::HeaderMap;
use mayfly_http::{IdempotencyKey, RateLimit};

use crate::reception::Written;

/// What a sender is told beside what was accepted.
pub enum Receipt {
    /// It was written now; what is left, if there is a limit.
    New(Option<RateLimit>),
    /// It had been written before.
    Replayed,
}

impl From<Written<()>> for Receipt {
    fn from(written: Written<()>) -> Self {
        match written {
            Written::Now(limit) => Self::New(limit),
            Written::Before(()) => Self::Replayed,
        }
    }
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
