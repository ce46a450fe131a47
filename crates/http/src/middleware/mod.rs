//! The middleware: request IDs, checks, errors, headers, logs and metrics.
//!
//! The layers implement `Transform` by hand, because `actix_web::middleware::from_fn` would box
//! the future of the inner service again for every request.

mod api_version;
mod held_payload;
mod request_guard;
mod request_metrics;
mod resource_access;
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
use mayfly_runtime::{FailureLog, Lifecycle, Process, Settings};
use tracing::{Instrument, debug_span};

use self::{
    held_payload::HeldPayload, request_guard::RequestGuard, request_metrics::RequestMetrics,
    response::ResponseFinisher,
};
pub(crate) use self::{
    request_metrics::{UPGRADE_ROUTE, count_upgrade},
    resource_access::ResourceAccess,
    resource_layer::ResourceLayer,
};
use crate::{
    Code, Problem,
    access::{check_host, strip_disallowed_preflight},
    connection::ConnectionState,
    request::Context,
    response::{encoding, errors_url},
};

/// The outermost middleware on every server.
#[derive(Clone)]
pub(crate) struct RequestLayer {
    lifecycle: Lifecycle,
    settings: Arc<Settings>,
    /// The URL of the error documentation.
    errors_url: Arc<str>,
    failures: FailureLog,
    /// The request metrics; `None` on the admin port.
    metrics: Option<RequestMetrics>,
}

impl RequestLayer {
    /// Creates the middleware for a public port.
    pub(crate) fn new(process: &Process) -> Self {
        Self { metrics: Some(RequestMetrics::default()), ..Self::for_admin_port(process) }
    }

    /// Creates the middleware for an admin port.
    pub(crate) fn for_admin_port(process: &Process) -> Self {
        Self {
            lifecycle: process.lifecycle.clone(),
            settings: Arc::clone(&process.settings),
            errors_url: errors_url(process.service, &process.settings.public).into(),
            failures: process.failures.clone(),
            metrics: None,
        }
    }

    fn is_admin_port(&self) -> bool {
        self.metrics.is_none()
    }

    /// Records that a request starts and, on a public port, checks its host and its API version.
    /// Returns the problem to respond with if the connection or a check rejects the request. An
    /// inner layer sends the rejection, so that the response receives all headers.
    fn find_rejection(&self, request: &ServiceRequest) -> Option<Problem> {
        let connection = request.conn_data::<Rc<ConnectionState>>();
        if let Some(problem) = connection.and_then(|connection| connection.begin_request()) {
            return Some(problem);
        }
        // The admin port is not part of the API, and probes address it by many host names.
        if self.is_admin_port() {
            return None;
        }
        let hosts = &self.settings.http.allowed_hosts;
        if let Err(problem) = check_host(request.uri(), request.headers(), hosts) {
            return Some(problem);
        }
        let is_acceptable = api_version::is_acceptable(request.headers());
        (!is_acceptable).then(|| Problem::new(Code::NotAcceptable))
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

/// The middleware for the whole application on one server thread.
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
        let mut context = Context::from_headers(request.headers());
        context.rejection = self.layer.find_rejection(&request).into();
        let guard = RequestGuard::new(&request);
        let finisher = ResponseFinisher {
            request_id: context.request_id.clone(),
            traceparent: context.traceparent.clone(),
            accepts_gzip: encoding::accepts_gzip(request.headers()),
            started_at: Instant::now(),
            layer: Rc::clone(&self.layer),
        };
        // The span is created only at the log levels `debug` and `trace`. The log line for a failed
        // request includes the request ID even without the span.
        let span = debug_span!(
            "request",
            request.id = context.request_id.as_str(),
            trace.parent = context.traceparent.as_str(),
            http.method = request.method().as_str(),
            http.path = request.uri().path(),
        );
        strip_disallowed_preflight(
            &self.layer.settings.http.allowed_origins,
            request.headers_mut(),
        );
        request.extensions_mut().insert(context);
        let payload = HeldPayload::share(&mut request);
        let inner = self.service.call(request);
        let response = async move {
            let response = finisher.finish(inner.await?.map_into_boxed_body()).await;
            let response = guard.attach(response);
            Ok(match payload {
                Some(payload) => payload.attach(response),
                None => response,
            })
        };
        Box::pin(response.instrument(span))
    }
}
