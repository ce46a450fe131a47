//! The layer around one resource that answers 503 when its deadline has passed.

use std::future::{Ready, ready};

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures_util::future::LocalBoxFuture;

use super::Deadline;
use crate::{Code, Problem};

/// Puts the deadline of `http.request_timeout` around a resource.
#[derive(Clone, Copy)]
pub(crate) struct DeadlineLayer;

impl<S, B> Transform<S, ServiceRequest> for DeadlineLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = DeadlineService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(DeadlineService { service }))
    }
}

/// The deadline around one resource.
pub(crate) struct DeadlineService<S> {
    service: S,
}

impl<S, B> Service<ServiceRequest> for DeadlineService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let deadline = Deadline::of(&request);
        // The path is matched by now, so a second handle to the request is in nobody's way.
        let handle = request.request().clone();
        let inner = self.service.call(request);
        Box::pin(async move {
            match deadline.watch(inner).await {
                Some(outcome) => outcome.map(ServiceResponse::map_into_boxed_body),
                None => Ok(ServiceResponse::from_err(
                    Problem::new(Code::Unavailable).caused_by("http.request_timeout"),
                    handle,
                )),
            }
        })
    }
}
