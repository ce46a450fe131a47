//! The middleware for one resource: records the route, checks the origin and enforces the deadline.

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::Method,
};
use futures_util::future::LocalBoxFuture;
use mayfly_runtime::AllowedOrigins;

use crate::{
    Code, Problem,
    access::check_origin,
    request::{Context, Deadline},
};

/// A middleware that records the route of a request, and responds with 503 if the request exceeds
/// `http.request_timeout`. If a request that writes, takes or deletes comes from an origin that is
/// not allowed, the middleware rejects the request.
#[derive(Clone)]
pub(crate) struct ResourceLayer {
    /// The path pattern of the resource.
    pub(crate) route: &'static str,
    /// The methods that write, take or delete.
    pub(crate) unsafe_methods: Rc<[Method]>,
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
        ready(Ok(ResourceService { service, layer: self.clone() }))
    }
}

/// The middleware for one resource on one server thread.
pub(crate) struct ResourceService<S> {
    service: S,
    layer: ResourceLayer,
}

impl<S> ResourceService<S> {
    /// Checks whether a request may be executed.
    fn check(&self, request: &ServiceRequest) -> Result<(), Problem> {
        Context::check_rejection(request)?;
        if !self.layer.unsafe_methods.contains(request.method()) {
            return Ok(());
        }
        match request.app_data::<AllowedOrigins>() {
            Some(origins) => check_origin(request.headers(), origins),
            None => check_origin(request.headers(), &AllowedOrigins::default()),
        }
    }
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
            context.set_route(self.layer.route);
            context.set_deadline(&deadline);
        }
        if let Err(problem) = self.check(&request) {
            let response = request.error_response(problem);
            return Box::pin(async move { Ok(response) });
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
