//! The client that sends a write, and the idempotency key.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use mayfly_auth::Identity;
use mayfly_hot::{IdempotentRequest, Origin};
use mayfly_http::{
    Caller, CallerIdentity, ClientAddress, IdempotencyKey, Problem, RequestId, Traceparent,
};

/// The client that sends a write, and the `Idempotency-Key` of the request.
pub struct ClientIdentity {
    client: Client,
    request_id: RequestId,
    traceparent: Traceparent,
    key: IdempotencyKey,
}

/// The credentials and the address of a client.
pub struct Client {
    identity: CallerIdentity,
    address: ClientAddress,
}

/// The context of a write: everything except the items.
pub struct WriteContext {
    /// The request ID and trace context, which are stored with the items.
    pub origin: Origin,
    /// The identity of the request, if it has an `Idempotency-Key`.
    pub idempotency: Option<IdempotentRequest>,
    /// The client that rate limits apply to.
    pub client: Client,
}

impl Client {
    /// Returns the credentials.
    pub fn identity(&self) -> &Identity {
        self.identity.identity()
    }

    /// Returns the ID that rate limits and idempotency keys apply to: the ID of the API key, the
    /// subject of the token, or the address of a client without credentials.
    pub fn id(&self) -> String {
        self.identity.client(&self.address)
    }
}

impl ClientIdentity {
    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the credentials of the client.
    pub fn identity(&self) -> &Identity {
        self.client.identity()
    }

    /// Returns whether the request has an `Idempotency-Key`.
    pub fn has_key(&self) -> bool {
        self.key.0.is_some()
    }

    /// Creates the context of a write to `route`. A retry with the same key must send the same
    /// `payload`.
    pub fn into_context(self, route: &'static str, payload: &[u8]) -> WriteContext {
        let Self { client, request_id, traceparent, key } = self;
        let idempotency =
            key.0.map(|key| IdempotentRequest::new(route, client.id(), key, &[payload]));
        let origin = Origin::new(request_id.as_str(), traceparent.as_str());
        WriteContext { origin, idempotency, client }
    }
}

impl FromRequest for ClientIdentity {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(extract(request))
    }
}

fn extract(request: &HttpRequest) -> Result<ClientIdentity, Problem> {
    let Caller { request_id, traceparent, client } = Caller::extract(request).into_inner()?;
    let identity = CallerIdentity::extract(request).into_inner()?;
    let key = IdempotencyKey::extract(request).into_inner()?;
    let client = Client { identity, address: client };
    Ok(ClientIdentity { client, request_id, traceparent, key })
}
