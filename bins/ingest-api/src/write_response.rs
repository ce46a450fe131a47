//! The response to an accepted write.

use actix_web::http::header::HeaderMap;
use mayfly_http::{IdempotencyKey, RateLimit};

/// The response to an accepted write, apart from its body.
pub enum WriteResponse<R = ()> {
    /// The request was executed. Contains the status of the client's rate limit, if there is one.
    New(Option<RateLimit>),
    /// An earlier request with the same idempotency key was executed, with this result.
    Replayed(R),
}

impl<R> WriteResponse<R> {
    /// Writes the response headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::New(None) => {}
            Self::New(Some(limit)) => limit.write_headers(headers),
            Self::Replayed(_) => IdempotencyKey::mark_replayed(headers),
        }
    }
}
