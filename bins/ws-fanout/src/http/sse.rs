//! Server-sent events (WHATWG HTML, section 9.2): the same frames as over a WebSocket, in a
//! streamed response.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header::HeaderValue},
};
use bytes::Bytes;
use futures_util::Stream;
use mayfly_http::{Code, ConnectionHandle, Problem};
use tokio::task::JoinHandle;

use super::query::LiveQuery;
use crate::{
    frames::Encoding,
    hub::ConnectionPermit,
    resume,
    worker::{GroupKey, Sink, WorkerContext},
};

/// The header with which `EventSource` resumes.
const LAST_EVENT_ID: &str = "last-event-id";

/// Responds with an event stream.
pub(super) async fn get_events(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let context = request.app_data::<Rc<WorkerContext>>().cloned();
    let context = context.ok_or_else(|| Problem::new(Code::Internal))?;
    let mut query = LiveQuery::parse(request.query_string())?;
    // When EventSource reconnects, it repeats the original query, so the header takes precedence.
    let last_event_id = request.headers().get(LAST_EVENT_ID).map(HeaderValue::to_str);
    if let Some(last_event_id) = last_event_id {
        let position = last_event_id.map_err(|_| {
            Problem::new(Code::InvalidField).field("Last-Event-ID", "must be a position")
        })?;
        query.since = Some(position.to_owned());
    }
    let permit = context.hub.admit()?;
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream");
    // Disables response buffering in nginx.
    response.insert_header(("X-Accel-Buffering", "no"));
    // The body of a HEAD response is never polled, so the stream would never end.
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let group_key = GroupKey { encoding: Encoding::Sse, subscription: query.subscription };
    let sink = Sink::Sse(ConnectionHandle::from_request(&request));
    let key = context.worker.borrow_mut().register(sink, group_key);
    let resume_task = resume::start(&context, key, query.since);
    Ok(response.streaming(EventStream { context, key, resume_task, _permit: permit }))
}

/// The response body.
struct EventStream {
    context: Rc<WorkerContext>,
    key: usize,
    /// Sends `hello` and the replay.
    resume_task: JoinHandle<()>,
    _permit: ConnectionPermit,
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut worker = self.context.worker.borrow_mut();
        if let Some(chunk) = worker.pop_chunk(self.key) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let connection = &mut worker.connections[self.key];
        if !connection.is_open() {
            return Poll::Ready(None);
        }
        connection.register_task(cx);
        Poll::Pending
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.resume_task.abort();
        self.context.worker.borrow_mut().remove(self.key);
    }
}
