//! The middleware of every request: request ID, errors, headers, log and metrics.
//!
//! The layers implement `Transform` by hand, because `actix_web::middleware::from_fn` boxes the
//! future of the inner service once more per request.

mod api_version;
mod cors;
mod held_payload;
mod request_metrics;
mod resource_layer;
mod response;

use std::{
    future::{Ready, ready},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};
use futures_util::future::LocalBoxFuture;
use mayfly_runtime::{Lifecycle, Process, Settings};
use tracing::{Instrument, debug_span};

pub(crate) use self::{cors::cors, request_metrics::count_upgrade, resource_layer::ResourceLayer};
use self::{
    held_payload::HeldPayload, request_metrics::RequestMetrics, response::ResponseFinisher,
};
use crate::{Code, Problem, request::Context, response::encoding};

/// The outermost middleware of every server.
#[derive(Clone)]
pub(crate) struct RequestLayer {
    lifecycle: Lifecycle,
    settings: Arc<Settings>,
    /// The request metrics; `None` on the admin port.
    metrics: Option<RequestMetrics>,
}

impl RequestLayer {
    /// Creates the middleware of a public port.
    pub(crate) fn new(process: &Process) -> Self {
        Self { metrics: Some(RequestMetrics::default()), ..Self::for_admin_port(process) }
    }

    /// Creates the middleware of an admin port.
    pub(crate) fn for_admin_port(process: &Process) -> Self {
        Self {
            lifecycle: process.lifecycle.clone(),
            settings: Arc::clone(&process.settings),
            metrics: None,
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for RequestLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = RequestService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RequestService { service, layer: Rc::new(self.clone()) }))
    }
}

/// The middleware of the whole application on one server thread.
pub(crate) struct RequestService<S> {
    service: S,
    /// Shared with all requests in progress.
    layer: Rc<RequestLayer>,
}

impl<S, B> Service<ServiceRequest> for RequestService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let context = Context::from_headers(request.headers());
        let finisher = ResponseFinisher {
            request_id: context.request_id.clone(),
            traceparent: context.traceparent.clone(),
            accepts_gzip: encoding::accepts_gzip(request.headers()),
            started_at: Instant::now(),
            layer: Rc::clone(&self.layer),
        };
        // Created only at level `debug`. The log line of a failed request contains the ID itself.
        let span = debug_span!(
            "request",
            request.id = context.request_id.as_str(),
            http.method = request.method().as_str(),
            http.path = request.uri().path(),
        );
        if !api_version::is_acceptable(request.headers()) {
            let response = request.error_response(Problem::new(Code::NotAcceptable));
            return Box::pin(async move { Ok(finisher.finish(response).await) }.instrument(span));
        }
        cors::strip_disallowed_preflight(
            &self.layer.settings.http.allowed_origins,
            request.headers_mut(),
        );
        request.extensions_mut().insert(context);
        let payload = HeldPayload::share(&mut request);
        let inner = self.service.call(request);
        let response = async move {
            let response = finisher.finish(inner.await?.map_into_boxed_body()).await;
            Ok(match payload {
                Some(payload) => payload.attach(response),
                None => response,
            })
        };
        Box::pin(response.instrument(span))
    }
}
