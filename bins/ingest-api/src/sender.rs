//! Who sends, and what its request is known by when it is sent again.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use mayfly_hot::{Limit, Once, Origin};
use mayfly_http::{Caller, ClientAddress, IdempotencyKey, Problem};
use mayfly_runtime::settings::Rate;

/// Who sends, and under which `Idempotency-Key`.
pub struct Sender {
    caller: Caller,
    key: IdempotencyKey,
}

/// A request to write: all but the messages themselves.
pub struct Sending {
    /// Where they come from.
    pub origin: Origin,
    /// What the request is known by when it is sent again.
    pub once: Option<Once>,
    client: ClientAddress,
}

impl Sender {
    /// Its request on a route; `sent` is what has to be the same when it is sent again.
    pub fn sending(self, route: &'static str, sent: &[u8]) -> Sending {
        let Self { caller: Caller { request_id, traceparent, client }, key } = self;
        let once = key.0.map(|key| Once::new(route, client.to_string(), key, &[sent]));
        Sending { origin: Origin::new(request_id.as_str(), traceparent.as_str()), once, client }
    }
}

impl Sending {
    /// The limit that its messages count for.
    pub fn limit(&self, rate: Option<Rate>) -> Option<Limit> {
        rate.map(|rate| Limit { client: self.client.to_string(), rate })
    }
}

impl FromRequest for Sender {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = Caller::extract(request).into_inner();
        let key = IdempotencyKey::extract(request).into_inner();
        ready(caller.and_then(|caller| Ok(Self { caller, key: key? })))
    }
}
