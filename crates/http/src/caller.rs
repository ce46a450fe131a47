//! Who asks.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use crate::{ClientAddress, Problem, RequestId, Traceparent};

/// Who asks, and by which request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the request.
    pub request_id: RequestId,
    /// Its place in a trace.
    pub traceparent: Traceparent,
    /// The client that it counts for.
    pub client: ClientAddress,
}

impl Caller {
    fn find(request: &HttpRequest) -> Result<Self, Problem> {
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
        ready(Self::find(request))
    }
}
