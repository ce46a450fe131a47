//! The layer around one resource: it says which one answers, and answers 503 itself when the deadline has passed.

use std::future::{Ready, ready};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures_util::future::LocalBoxFuture;

use super::{Context, Deadline};
use crate::{Code, Problem};

/// Puts the deadline of `http.request_timeout` around a resource, and its name beside the request.
#[derive(Clone, Copy)]
pub(crate) struct ResourceLayer {
    /// The pattern of its path.
    pub(crate) route: &'static str,
}

impl<S, B> Transform<S, ServiceRequest> for ResourceLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = ResourceService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ResourceService { service, route: self.route }))
    }
}

/// The layer around one resource of one worker.
pub(crate) struct ResourceService<S> {
    service: S,
    route: &'static str,
}

impl<S, B> Service<ServiceRequest> for ResourceService<S>
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
        if let Some(context) = request.extensions().get::<Context>() {
            context.set_route(self.route);
            context.set_deadline(&deadline);
        }
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
