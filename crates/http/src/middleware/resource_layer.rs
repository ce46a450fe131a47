//! The middleware for one resource: records the route, checks the origin and the credentials, and
//! enforces the deadline.

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

use super::resource_access::{Requirement, ResourceAccess};
use crate::{
    Code, Problem,
    access::check_origin,
    request::{Context, Deadline},
};

/// A middleware that records the route of a request, and responds with 503 if the request exceeds
/// `http.request_timeout`. The middleware rejects a request that writes, takes or deletes if it
/// comes from an origin that is not allowed, and a request of a caller without the required access.
#[derive(Clone)]
pub(crate) struct ResourceLayer {
    /// The path pattern of the resource.
    pub(crate) route: &'static str,
    /// The methods that write, take or delete.
    pub(crate) unsafe_methods: Rc<[Method]>,
    /// The access that the methods require.
    pub(crate) access: ResourceAccess,
}

impl<S, B> Transform<S, ServiceRequest> for ResourceLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = ResourceService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ResourceService { service: Rc::new(service), layer: self.clone() }))
    }
}

/// The middleware for one resource on one server thread.
pub(crate) struct ResourceService<S> {
    /// Shared with the requests whose callers are being authenticated.
    service: Rc<S>,
    layer: ResourceLayer,
}

impl<S> ResourceService<S> {
    /// Checks whether a request may be executed. Returns the access for which the caller must still
    /// be authenticated, or `None` if the check is complete.
    fn check(&self, request: &ServiceRequest) -> Result<Option<Requirement>, Problem> {
        Context::check_rejection(request)?;
        if self.layer.unsafe_methods.contains(request.method()) {
            match request.app_data::<AllowedOrigins>() {
                Some(origins) => check_origin(request.headers(), origins)?,
                None => check_origin(request.headers(), &AllowedOrigins::default())?,
            }
        }
        let Some(requirement) = self.layer.access.find(request.method()) else { return Ok(None) };
        Ok((!requirement.check_cached(request.request())?).then_some(requirement))
    }
}

impl<S, B> Service<ServiceRequest> for ResourceService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
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
        let unchecked = match self.check(&request) {
            Ok(unchecked) => unchecked,
            Err(problem) => {
                let response = request.error_response(problem);
                return Box::pin(async move { Ok(response) });
            }
        };
        // actix-web requires unique ownership of the request only until the path is matched.
        let handle = request.request().clone();
        let service = Rc::clone(&self.service);
        let respond = async move {
            // Boxed, because most callers have been authenticated by an earlier request.
            if let Some(requirement) = unchecked
                && let Err(problem) = Box::pin(requirement.authenticate(request.request())).await
            {
                return Ok(request.error_response(problem));
            }
            service.call(request).await.map(ServiceResponse::map_into_boxed_body)
        };
        Box::pin(async move {
            match deadline.enforce(respond).await {
                Some(outcome) => outcome,
                None => Ok(ServiceResponse::from_err(
                    Problem::new(Code::Unavailable)
                        .caused_by("the request exceeded http.request_timeout"),
                    handle,
                )),
            }
        })
    }
}
