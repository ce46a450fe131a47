//! What the handlers need: the way into the hot store, ids, the clock.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{Clock, IdGenerator, Message, NewMessage, SystemClock};
use mayfly_hot::{Acceptance, Acceptor, Hot, NewCopy, Origin};
use mayfly_http::{Problem, RequestId, Traceparent};
use mayfly_runtime::{Settings, metrics as names};
use metrics::{Counter, Histogram};

use crate::problems;

/// What the handlers of one thread need.
pub struct Ingest {
    acceptor: Acceptor,
    /// The same for all threads, so that the ids of a process rise even within a millisecond.
    ids: Arc<IdGenerator>,
    clock: Box<dyn Clock>,
    /// What `Location` starts with; empty where callers see one origin.
    list_url: String,
    accepted_total: Counter,
    accept_seconds: Histogram,
}

/// A message that was accepted, as its sender sees it.
pub struct Accepted {
    /// What was accepted.
    pub message: Message,
    /// The same as JSON.
    pub json: Bytes,
}

/// Where a request comes from.
pub type Caller = (RequestId, Traceparent);

impl Ingest {
    /// Opens the way into the hot store.
    pub fn new(hot: &Hot, ids: Arc<IdGenerator>, settings: &Settings) -> Self {
        Self {
            acceptor: Acceptor::open(hot, settings),
            ids,
            clock: Box::new(SystemClock),
            list_url: settings.public.list_url.clone(),
            accepted_total: metrics::counter!(names::ACCEPTED_TOTAL, "kind" => "messages"),
            accept_seconds: metrics::histogram!(names::ACCEPT_SECONDS),
        }
    }

    /// Accepts one message.
    pub async fn accept(&self, new: NewMessage, caller: &Caller) -> Result<Accepted, Problem> {
        let message = self.make(new);
        let copy = NewCopy::from(&message);
        let json = copy.json.clone();
        self.write(vec![copy], caller).await?;
        Ok(Accepted { message, json })
    }

    /// Accepts the messages of a batch, all or none; gives their ids in order.
    pub async fn accept_all(
        &self,
        new: Vec<NewMessage>,
        caller: &Caller,
    ) -> Result<Vec<mayfly_core::MessageId>, Problem> {
        let copies: Vec<_> = new.into_iter().map(|new| NewCopy::from(&self.make(new))).collect();
        let ids = copies.iter().map(|copy| copy.id).collect();
        self.write(copies, caller).await?;
        Ok(ids)
    }

    /// The public place of a path of list-api.
    pub fn location(&self, path: std::fmt::Arguments<'_>) -> String {
        format!("{}{path}", self.list_url)
    }

    fn make(&self, new: NewMessage) -> Message {
        let now = self.clock.now();
        new.accept(self.ids.next_id(now), now)
    }

    async fn write(&self, copies: Vec<NewCopy>, caller: &Caller) -> Result<(), Problem> {
        let started = Instant::now();
        let count = copies.len() as u64;
        let origin = Origin::new(caller.0.as_str(), caller.1.as_str());
        match self.acceptor.accept(copies, origin).await {
            Ok(Acceptance::Accepted) => {
                self.accepted_total.increment(count);
                self.accept_seconds.record(started.elapsed());
                Ok(())
            }
            Ok(Acceptance::InboxFull) => Err(problems::inbox_full()),
            Ok(Acceptance::QueueFull) => Err(problems::queue_full()),
            Err(error) => Err(problems::of_hot(&error)),
        }
    }
}
