//! Keeps the payload of a chunked request body alive until the response has been sent.
//!
//! If a handler does not read the body to the end and the payload is dropped before the response
//! has been sent, actix-http drains the rest of the body without a time limit, so a client that
//! sends slowly could occupy its connection forever. If the payload still exists, actix-http
//! lingers for a bounded time and closes the connection.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::header::TRANSFER_ENCODING,
};
use bytes::Bytes;
use futures_util::Stream;

/// The payload of a chunked body, shared by the request and its response.
pub(super) struct HeldPayload(Rc<RefCell<Payload>>);

impl HeldPayload {
    /// Shares the payload of a request that has a chunked body. Returns `None` for other requests.
    pub(super) fn share(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let payload = Rc::new(RefCell::new(request.take_payload()));
        let shared = SharedPayload(Rc::clone(&payload));
        request.set_payload(Payload::Stream { payload: Box::pin(shared) });
        Some(Self(payload))
    }

    /// Keeps the payload alive until the response has been sent.
    pub(super) fn attach(self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        BodyWith::attach(response, self.0)
    }
}

struct SharedPayload(Rc<RefCell<Payload>>);

impl Stream for SharedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// The body of a response with a value that is dropped together with the body.
pub(super) struct BodyWith<T> {
    body: BoxBody,
    _value: T,
}

impl<T: Unpin + 'static> BodyWith<T> {
    /// Attaches `value` to the body of a response.
    pub(super) fn attach(response: ServiceResponse<BoxBody>, value: T) -> ServiceResponse<BoxBody> {
        response.map_body(|_, body| BoxBody::new(Self { body, _value: value }))
    }
}

impl<T: Unpin> MessageBody for BodyWith<T> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_pin_mut().poll_next(cx)
    }
}
