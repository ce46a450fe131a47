//! What every answer gets on its way out.

use std::{borrow::Cow, mem, rc::Rc, time::Instant};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        ConnectionType, StatusCode,
        header::{CACHE_CONTROL, HeaderValue},
    },
};
use tracing::{debug, error};

use super::{Context, Edge};
use crate::{
    Code, Problem, RequestId, Traceparent, encoding, request_id::X_REQUEST_ID,
    trace_parent::TRACEPARENT,
};

/// What has to be known of a request when its answer is there.
pub(super) struct Answer {
    pub(super) request_id: RequestId,
    pub(super) traceparent: Traceparent,
    /// Whether the caller takes gzip.
    pub(super) gzip: bool,
    pub(super) began: Instant,
    pub(super) edge: Rc<Edge>,
}

impl Answer {
    /// Makes the answer whole.
    pub(super) async fn finish(
        self,
        response: ServiceResponse<BoxBody>,
    ) -> ServiceResponse<BoxBody> {
        let response = self.write_problem(response);
        let mut response = encoding::compress(response, self.gzip).await;
        self.write_headers(&mut response);
        self.close_where_needed(&mut response);
        self.count(&response);
        response
    }

    fn count(&self, response: &ServiceResponse<BoxBody>) {
        let Some(requests) = &self.edge.requests else { return };
        let request = response.request();
        let route = request.extensions().get::<Context>().and_then(Context::route);
        requests.count(request.method(), route, response.status(), self.began.elapsed());
    }

    /// Writes out what went wrong, also what the HTTP library found, and logs it.
    fn write_problem(&self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let status = response.status();
        if status.as_u16() < 400 {
            debug!(http.status = status.as_u16(), "answered");
            return response;
        }
        let mut headers = mem::take(response.headers_mut());
        let problem = problem_of(&response);
        let body = problem.map(|problem| {
            self.log(&response, problem.cause().as_deref());
            problem.get().write_headers(&mut headers);
            problem.get().write_body(self.request_id.as_str())
        });
        *response.headers_mut() = headers;
        match body {
            Some(body) => response.map_body(|_, _| BoxBody::new(body)),
            None => response,
        }
    }

    fn log(&self, response: &ServiceResponse<BoxBody>, cause: Option<&str>) {
        let status = response.status();
        if !status.is_server_error() {
            debug!(http.status = status.as_u16(), cause, "refused");
            return;
        }
        let request = response.request();
        error!(
            request.id = self.request_id.as_str(),
            http.method = request.method().as_str(),
            http.path = request.uri().path(),
            http.status = status.as_u16(),
            cause,
            "failed"
        );
    }

    fn write_headers(&self, response: &mut ServiceResponse<BoxBody>) {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.request_id.header());
        headers.insert(TRACEPARENT, self.traceparent.header());
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }

    /// A server that leaves wants no further request, nor is one wanted behind a body that was not read to its end.
    fn close_where_needed(&self, response: &mut ServiceResponse<BoxBody>) {
        let status = response.status();
        let unread = matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        if status != StatusCode::SWITCHING_PROTOCOLS
            && (unread || self.edge.lifecycle.is_draining())
        {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
}

/// A problem of ours, or one made of what the HTTP library says.
enum Found<'a> {
    Ours(&'a Problem),
    Made(Problem),
}

impl Found<'_> {
    fn get(&self) -> &Problem {
        match self {
            Self::Ours(problem) => problem,
            Self::Made(problem) => problem,
        }
    }

    fn cause(&self) -> Option<Cow<'_, str>> {
        self.get().cause().map(mayfly_runtime::redact)
    }
}

/// Finds what went wrong; none where the handler wrote an answer of its own.
fn problem_of(response: &ServiceResponse<BoxBody>) -> Option<Found<'_>> {
    let http = response.response();
    if let Some(error) = http.error() {
        return match error.as_error::<Problem>() {
            Some(problem) => Some(Found::Ours(problem)),
            None => Code::of_status(http.status())
                .map(|code| Found::Made(Problem::new(code).caused_by(error))),
        };
    }
    let empty = matches!(http.body().size(), BodySize::None | BodySize::Sized(0));
    if empty {
        Code::of_status(http.status()).map(|code| Found::Made(Problem::new(code)))
    } else {
        None
    }
}
