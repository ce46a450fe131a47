//! Records on the connection when a request has ended.

use std::rc::Rc;

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
};

use super::held_payload::BodyWith;
use crate::connection::ConnectionState;

/// A guard for a request that has started. The request ends when the guard is dropped.
pub(super) struct RequestGuard(Option<Rc<ConnectionState>>);

impl RequestGuard {
    pub(super) fn new(request: &ServiceRequest) -> Self {
        Self(request.conn_data::<Rc<ConnectionState>>().cloned())
    }

    /// Drops the guard together with the body of the response if the body is a stream, which can
    /// last for a long time. Otherwise, drops the guard immediately.
    pub(super) fn attach(self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if matches!(response.response().body().size(), BodySize::Stream) {
            BodyWith::attach(response, self)
        } else {
            response
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.end_request();
        }
    }
}
