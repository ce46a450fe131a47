//! The client that sends a write, and the idempotency key.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use mayfly_hot::{ClientLimit, IdempotentRequest, Origin};
use mayfly_http::{Caller, ClientAddress, IdempotencyKey, Problem};
use mayfly_runtime::settings::Rate;

/// The client that sends a write, and the `Idempotency-Key` of the request.
pub struct ClientIdentity {
    caller: Caller,
    key: IdempotencyKey,
}

/// The context of a write: everything except the items.
pub struct WriteContext {
    /// The request ID and trace context, which are stored with the items.
    pub origin: Origin,
    /// The identity of the request, if it has an `Idempotency-Key`.
    pub idempotency: Option<IdempotentRequest>,
    client: ClientAddress,
}

impl ClientIdentity {
    /// Returns whether the request has an `Idempotency-Key`.
    pub fn has_key(&self) -> bool {
        self.key.0.is_some()
    }

    /// Returns the rate limit of the client, or `None` if there is no limit.
    pub fn limit(&self, rate: Option<Rate>) -> Option<ClientLimit> {
        rate.map(|rate| ClientLimit { client: self.caller.client.to_string(), rate })
    }

    /// Creates the context of a write to `route`. A retry with the same key must send the same
    /// `payload`.
    pub fn into_context(self, route: &'static str, payload: &[u8]) -> WriteContext {
        let Self { caller: Caller { request_id, traceparent, client }, key } = self;
        let idempotency =
            key.0.map(|key| IdempotentRequest::new(route, client.to_string(), key, &[payload]));
        let origin = Origin::new(request_id.as_str(), traceparent.as_str());
        WriteContext { origin, idempotency, client }
    }
}

impl WriteContext {
    /// Returns the identity of the client.
    pub fn client(&self) -> String {
        self.client.to_string()
    }

    /// Returns the rate limit that the items count against, or `None` if there is no limit.
    pub fn limit(&self, rate: Option<Rate>) -> Option<ClientLimit> {
        rate.map(|rate| ClientLimit { client: self.client.to_string(), rate })
    }
}

impl FromRequest for ClientIdentity {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = Caller::extract(request).into_inner();
        let key = IdempotencyKey::extract(request).into_inner();
        ready(caller.and_then(|caller| Ok(Self { caller, key: key? })))
    }
}
