//! Server-sent events (WHATWG HTML, section 9.2): the same frames as over a WebSocket, in a
//! streamed response.

use std::{
    convert::Infallible,
    ops::RangeInclusive,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{Method, Version, header::CACHE_CONTROL},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use mayfly_auth::{Access, Identity};
use mayfly_core::frame::ForbiddenNames;
use mayfly_http::{
    CallerIdentity, ClientAddress, Code, ConnectionHandle, CredentialsDigest, Problem,
    find_forbidden_origin,
};
use tokio::task::JoinHandle;

use super::{
    authentication::{admit, too_many_connections},
    query::parse_events_query,
};
use crate::{
    frames::{Encoding, encode_sse_retry},
    hub::{ConnectionPermit, Hub, Refusal},
    resume,
    subscription::{Subscription, SubscriptionField, first_forbidden},
    worker::{DRAIN_RETRY_MS, Proof, Sink, WorkerContext},
};

/// The header in which an `EventSource` sends the last position when it reconnects.
const LAST_EVENT_ID: &str = "last-event-id";
/// Range of the delay before an `EventSource` reconnects, in milliseconds. Each stream sets a
/// delay, because the shorter delay from an earlier drain would otherwise remain in effect. The
/// delay is random, so that clients do not reconnect simultaneously after a failure.
const RETRY_MS: RangeInclusive<u64> = 1_000..=5_000;

/// Responds with an event stream. The middleware has authenticated the caller.
pub(super) async fn get_events(
    request: HttpRequest,
    caller: CallerIdentity,
    digest: CredentialsDigest,
    address: ClientAddress,
) -> Result<HttpResponse, Problem> {
    let context = request.app_data::<Rc<WorkerContext>>().cloned();
    let context = context.ok_or_else(|| Problem::new(Code::Internal))?;
    let origins = &context.hub.settings.http.allowed_origins;
    if let Some(origin) = find_forbidden_origin(request.headers(), origins) {
        context.hub.forbidden_log.record_origin(&origin);
        return Err(Problem::new(Code::Forbidden)
            .detail("The origin is not allowed: add it to MAYFLY_HTTP__ALLOWED_ORIGINS."));
    }
    let last_event_id = request.headers().get(LAST_EVENT_ID);
    // A position that is not ASCII is handled like any other malformed position.
    let last_event_id =
        last_event_id.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let start = parse_events_query(request.query_string(), last_event_id)?;
    let (caller, proof) = confirm(&context.hub, caller, digest).await?;
    caller.check(&Access::Connect)?;
    check_names(&start.subscription, caller.identity())?;
    let response = build_response(&request);
    // The body of a HEAD response is never written.
    if request.method() == Method::HEAD {
        return Ok(finish(&request, response, stream::empty()));
    }
    let permit = match context.hub.admit() {
        Ok(permit) => permit,
        // An `EventSource` does not reconnect after a status other than 200, so a refused client
        // receives a stream with only a `retry` field.
        Err(refusal) => {
            let retry_ms = match refusal {
                Refusal::Draining => DRAIN_RETRY_MS,
                Refusal::Full | Refusal::TooManyUnauthenticated => RETRY_MS,
            };
            let retry = encode_sse_retry(fastrand::u64(retry_ms));
            return Ok(finish(&request, response, stream::iter([Ok(retry)])));
        }
    };
    let Ok(slot) = admit(&context.hub, &caller.client(&address)) else {
        return Err(too_many_connections());
    };
    let sink = Sink::Sse(ConnectionHandle::from_request(&request));
    let key = {
        let mut worker = context.worker.borrow_mut();
        let key = worker.register(sink, Encoding::Sse, Some(slot));
        worker.accept(key, caller.identity().clone(), proof, None);
        worker.start_subscription(key, start.subscription);
        worker.send_retry(key, fastrand::u64(RETRY_MS));
        key
    };
    context.recheck_if_outdated(key);
    let resume_task = resume::start(&context, key, start.since);
    let events = EventStream { context, key, resume_task, _permit: permit };
    Ok(finish(&request, response, events))
}

/// Checks whether the caller may subscribe to all requested names.
fn check_names(subscription: &Subscription, identity: &Identity) -> Result<(), Problem> {
    let forbidden = subscription.find_forbidden(identity, &Subscription::none());
    if forbidden.is_empty() {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden).detail(describe_parameter(&forbidden)))
}

fn describe_parameter(forbidden: &ForbiddenNames) -> String {
    let parameter = first_forbidden(forbidden).map_or("channel", SubscriptionField::parameter);
    format!("The credentials do not grant the right to each {parameter} in the query.")
}

/// Checks the credentials of the caller again, and returns the caller with their proof, if any. The
/// middleware may have authenticated the caller before the newest change of keys and revocations.
async fn confirm(
    hub: &Hub,
    caller: CallerIdentity,
    CredentialsDigest(digest): CredentialsDigest,
) -> Result<(CallerIdentity, Option<Proof>), Problem> {
    let has_credentials = matches!(caller.identity(), Identity::Key(_) | Identity::Token(_));
    let Some(digest) = digest.filter(|_| has_credentials) else { return Ok((caller, None)) };
    // A change during the check may not be taken into account.
    let generation = *hub.authenticator.changes().borrow();
    let confirmed = hub.authenticator.recheck(&digest, caller.identity()).await;
    let identity = confirmed.map_err(|error| Problem::from_auth_error(&error))?;
    Ok((CallerIdentity::from(identity), Some(Proof { digest, generation })))
}

fn build_response(request: &HttpRequest) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream");
    // A proxy that transforms a stream, for example to compress it, may delay its events.
    response.insert_header((CACHE_CONTROL, "no-store, no-transform"));
    // Disable response buffering in nginx.
    response.insert_header(("X-Accel-Buffering", "no"));
    // HTTP/1.0 clients read until the connection is closed.
    if request.version() < Version::HTTP_11 {
        response.force_close();
    }
    response
}

/// Adds a streamed body to the response.
fn finish(
    request: &HttpRequest,
    mut response: HttpResponseBuilder,
    events: impl Stream<Item = Result<Bytes, Infallible>> + 'static,
) -> HttpResponse {
    let mut response = response.streaming(events);
    if request.version() < Version::HTTP_11 {
        response.head_mut().no_chunking(true);
    }
    response
}

/// The body of an event stream.
struct EventStream {
    context: Rc<WorkerContext>,
    key: usize,
    /// The task that sends `hello` and the replay.
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
