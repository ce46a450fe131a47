//! What is done around every request: its id, its errors, its headers, its log.

mod answer;
mod chunked;
mod context;
mod deadline;
mod requests;
mod resource_layer;
mod version;

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

use self::{answer::Answer, chunked::HeldPayload, requests::Requests};
pub(crate) use self::{
    context::Context,
    deadline::{Deadline, RequestTimeout},
    requests::count_upgrade,
    resource_layer::ResourceLayer,
};
use crate::{Code, Problem, cors, encoding};

/// The outermost layer of every server.
#[derive(Clone)]
pub(crate) struct Edge {
    lifecycle: Lifecycle,
    settings: Arc<Settings>,
    /// What is counted of each request; nothing on an admin port.
    requests: Option<Requests>,
}

impl Edge {
    /// Makes the layer of a public port.
    pub(crate) fn new(process: &Process) -> Self {
        Self { requests: Some(Requests::default()), ..Self::of_admin_port(process) }
    }

    /// Makes the layer of an admin port.
    pub(crate) fn of_admin_port(process: &Process) -> Self {
        Self {
            lifecycle: process.lifecycle.clone(),
            settings: Arc::clone(&process.settings),
            requests: None,
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Edge
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = EdgeService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(EdgeService { service, edge: Rc::new(self.clone()) }))
    }
}

/// The layer around one service of one worker.
pub(crate) struct EdgeService<S> {
    service: S,
    /// Shared with every request under way.
    edge: Rc<Edge>,
}

impl<S, B> Service<ServiceRequest> for EdgeService<S>
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
        let context = Context::of(request.headers());
        let answer = Answer {
            request_id: context.request_id.clone(),
            traceparent: context.traceparent.clone(),
            gzip: encoding::accepts_gzip(request.headers()),
            began: Instant::now(),
            edge: Rc::clone(&self.edge),
        };
        // Made only where `debug` is logged; a request that fails carries its id in its own line.
        let span = debug_span!(
            "request",
            request.id = context.request_id.as_str(),
            http.method = request.method().as_str(),
            http.path = request.uri().path(),
        );
        if !version::is_acceptable(request.headers()) {
            let refused = request.error_response(Problem::new(Code::NotAcceptable));
            return Box::pin(async move { Ok(answer.finish(refused).await) }.instrument(span));
        }
        cors::forget_foreign_preflight(
            &self.edge.settings.http.allowed_origins,
            request.headers_mut(),
        );
        request.extensions_mut().insert(context);
        let held = HeldPayload::hold(&mut request);
        let inner = self.service.call(request);
        let whole = async move {
            let response = answer.finish(inner.await?.map_into_boxed_body()).await;
            Ok(match held {
                Some(held) => held.attach(response),
                None => response,
            })
        };
        Box::pin(whole.instrument(span))
    }
}
