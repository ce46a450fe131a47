//! Server-sent events: the same frames over a plain answer (WHATWG HTML, section 9.2).

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
use mayfly_http::{Code, Hangup, Problem};
use tokio::task::JoinHandle;

use crate::{
    batch::Encoding, client::Sink, groups::Interest, hub::Seat, local::Local, query::LiveQuery,
    resume,
};

/// What a client that comes back hands in.
const LAST_EVENT_ID: &str = "last-event-id";

/// Answers with events until one side ends it.
pub(crate) async fn get_events(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let local = request.app_data::<Rc<Local>>().cloned();
    let local = local.ok_or_else(|| Problem::new(Code::Internal))?;
    let mut query = LiveQuery::parse(request.query_string())?;
    // A client that comes back by itself asks with the query that it came with at first.
    let last = request.headers().get(LAST_EVENT_ID).map(HeaderValue::to_str);
    if let Some(last) = last {
        let last = last.map_err(|_| {
            Problem::new(Code::InvalidField).field("Last-Event-ID", "must be a position")
        })?;
        query.since = Some(last.to_owned());
    }
    let seat = local.hub.admit()?;
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/event-stream");
    // Proxies are not to gather what is to be seen at once.
    answer.insert_header(("X-Accel-Buffering", "no"));
    // A body that is not sent would never end.
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let interest = Interest { encoding: Encoding::Events, subscription: query.subscription };
    let key = local.shard.borrow_mut().register(Sink::Events(Hangup::of(&request)), interest);
    let greeting = resume::begin(&local, key, query.since);
    let events = Events { local, key, greeting, _seat: seat };
    Ok(answer.streaming(events))
}

/// The body of the answer.
struct Events {
    local: Rc<Local>,
    key: usize,
    /// Greets, and replays.
    greeting: JoinHandle<()>,
    _seat: Seat,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shard = self.local.shard.borrow_mut();
        if let Some(piece) = shard.pop(self.key) {
            return Poll::Ready(Some(Ok(piece)));
        }
        let client = &mut shard.clients[self.key];
        if !client.is_open() {
            return Poll::Ready(None);
        }
        client.remember_task(context);
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.greeting.abort();
        self.local.shard.borrow_mut().remove(self.key);
    }
}
