//! The middleware of one resource: records the route and enforces the deadline.

use std::future::{Ready, ready};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures_util::future::LocalBoxFuture;

use crate::{
    Code, Problem,
    request::{Context, Deadline},
};

/// Records the route of a request, and responds 503 if `http.request_timeout` expires.
#[derive(Clone, Copy)]
pub(crate) struct ResourceLayer {
    /// The path pattern of the resource.
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

/// The middleware of one resource on one server thread.
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
        let deadline = Deadline::start(&request);
        if let Some(context) = request.extensions().get::<Context>() {
            context.set_route(self.route);
            context.set_deadline(&deadline);
        }
        // actix-web requires unique ownership of the request only until the path is matched.
        let handle = request.request().clone();
        let inner = self.service.call(request);
        Box::pin(async move {
            match deadline.enforce(inner).await {
                Some(outcome) => outcome.map(ServiceResponse::map_into_boxed_body),
                None => Ok(ServiceResponse::from_err(
                    Problem::new(Code::Unavailable)
                        .caused_by("the request exceeded http.request_timeout"),
                    handle,
                )),
            }
        })
    }
}
