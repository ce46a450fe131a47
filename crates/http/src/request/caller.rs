//! The caller of a request.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::{ClientAddress, RequestId, Traceparent};
use crate::Problem;

/// The client that sent a request, and the identifiers of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request ID.
    pub request_id: RequestId,
    /// The trace context.
    pub traceparent: Traceparent,
    /// The client that rate limits apply to.
    pub client: ClientAddress,
}

impl Caller {
    fn extract_parts(request: &HttpRequest) -> Result<Self, Problem> {
        Ok(Self {
            request_id: RequestId::extract(request).into_inner()?,
            traceparent: Traceparent::extract(request).into_inner()?,
            client: ClientAddress::extract(request).into_inner()?,
        })
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::extract_parts(request))
    }
}
