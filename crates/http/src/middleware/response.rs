//! Completes every response: writes the problem document and the headers, renders a page for a
//! browser, compresses the body, and records the log line and metrics.

use std::{mem, rc::Rc, time::Instant};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        ConnectionType, StatusCode,
        header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
};
use mayfly_runtime::FailedRequest;
use tracing::debug;

use super::{RequestLayer, request_metrics::OTHER};
use crate::{
    Code, Problem, RequestId, Traceparent,
    connection::ConnectionState,
    request::{Context, TRACEPARENT, X_REQUEST_ID},
    response::{PacedBody, browsable::render_for_browser, encoding},
};

/// The request data that is needed to complete the response.
pub(super) struct ResponseFinisher {
    pub(super) request_id: RequestId,
    pub(super) traceparent: Traceparent,
    /// Whether the client accepts gzip.
    pub(super) accepts_gzip: bool,
    pub(super) started_at: Instant,
    pub(super) layer: Rc<RequestLayer>,
}

impl ResponseFinisher {
    pub(super) async fn finish(
        self,
        response: ServiceResponse<BoxBody>,
    ) -> ServiceResponse<BoxBody> {
        let mut response = self.write_problem(response);
        self.write_headers(&mut response);
        let response = render_for_browser(response);
        let response = encoding::compress(response, self.accepts_gzip).await;
        let mut response = pace(response);
        self.close_if_needed(&mut response);
        self.record_metrics(&response);
        response
    }

    fn record_metrics(&self, response: &ServiceResponse<BoxBody>) {
        let Some(metrics) = &self.layer.metrics else { return };
        let request = response.request();
        let route = request.extensions().get::<Context>().and_then(Context::route);
        metrics.record(request.method(), route, response.status(), self.started_at.elapsed());
    }

    /// Writes the problem document of an error response. Error responses from the HTTP library are
    /// converted to problems. Logs the outcome, except for an error response that keeps its own
    /// body.
    fn write_problem(&self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let status = response.status();
        if status.as_u16() < 400 {
            debug!(http.status = status.as_u16(), "request completed");
            return response;
        }
        let mut headers = mem::take(response.headers_mut());
        let problem = find_problem(&response);
        let body = problem.map(|problem| {
            self.log(&response, problem.get());
            problem.get().write_headers(&mut headers);
            problem.get().write_body(self.request_id.as_str(), &self.layer.errors_url)
        });
        *response.headers_mut() = headers;
        match body {
            Some(body) => response.map_body(|_, _| BoxBody::new(body)),
            None => response,
        }
    }

    fn log(&self, response: &ServiceResponse<BoxBody>, problem: &Problem) {
        let (status, cause) = (response.status(), problem.cause());
        if !status.is_server_error() {
            let cause = cause.map(mayfly_runtime::redact);
            debug!(http.status = status.as_u16(), cause = cause.as_deref(), "request rejected");
            return;
        }
        let request = response.request();
        let route = request.extensions().get::<Context>().and_then(Context::route);
        self.layer.failures.record(&FailedRequest {
            route: route.unwrap_or(OTHER),
            code: problem.code().as_str(),
            status: status.as_u16(),
            method: request.method().as_str(),
            path: request.uri().path(),
            request_id: self.request_id.as_str(),
            traceparent: self.traceparent.as_str(),
            cause,
        });
    }

    fn write_headers(&self, response: &mut ServiceResponse<BoxBody>) {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.request_id.to_header());
        headers.insert(TRACEPARENT, self.traceparent.to_header());
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        // A browser must not interpret JSON as a script, a style sheet or a page.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }

    /// Closes the connection after the response if the server is draining, or if the status (408 or
    /// 413) means that the request body was not read to the end.
    fn close_if_needed(&self, response: &mut ServiceResponse<BoxBody>) {
        let status = response.status();
        let is_body_unread =
            matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        if status != StatusCode::SWITCHING_PROTOCOLS
            && (is_body_unread || self.layer.lifecycle.is_draining())
        {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
}

/// Passes on a large body in pieces and counts its unread bytes.
fn pace(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if PacedBody::is_unnecessary(response.response().body().size()) {
        return response;
    }
    let connection = response.request().conn_data::<Rc<ConnectionState>>().cloned();
    let Some(connection) = connection else { return response };
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(PacedBody::new(bytes, connection)),
        Err(streamed) => streamed,
    })
}

/// A problem that a handler or the middleware returned, or that was converted from an error
/// response of the HTTP library.
enum FoundProblem<'a> {
    Handler(&'a Problem),
    Library(Problem),
}

impl FoundProblem<'_> {
    fn get(&self) -> &Problem {
        match self {
            Self::Handler(problem) => problem,
            Self::Library(problem) => problem,
        }
    }
}

/// Returns the problem for an error response, or `None` if the response keeps its own body.
fn find_problem(response: &ServiceResponse<BoxBody>) -> Option<FoundProblem<'_>> {
    let http = response.response();
    if let Some(error) = http.error() {
        return match error.as_error::<Problem>() {
            Some(problem) => Some(FoundProblem::Handler(problem)),
            None => Code::from_status(http.status())
                .map(|code| FoundProblem::Library(Problem::new(code).caused_by(error))),
        };
    }
    let is_empty = matches!(http.body().size(), BodySize::None | BodySize::Sized(0));
    if is_empty {
        Code::from_status(http.status()).map(|code| FoundProblem::Library(Problem::new(code)))
    } else {
        None
    }
}
