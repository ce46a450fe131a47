//! What the handlers need: the way into the hot store, ids, the clock.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{Clock, IdGenerator, Message, MessageId, NewMessage, SystemClock};
use mayfly_hot::{Acceptor, Before, Hot, NewCopy, Write};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};

use crate::{
    receipt::Receipt,
    reception::{Reception, Written},
    sender::Sending,
};

/// What the handlers of one thread need.
pub struct Ingest {
    acceptor: Acceptor,
    /// The same for all threads, so that the ids of a process rise even within a millisecond.
    ids: Arc<IdGenerator>,
    clock: Box<dyn Clock>,
    /// What one client may send.
    rate: Option<Rate>,
    /// What `Location` starts with; empty where callers see one origin.
    list_url: String,
    reception: Reception,
}

/// A message that was accepted, as its sender sees it.
pub struct Accepted {
    /// What was accepted.
    pub message: Message,
    /// The same as JSON.
    pub json: Bytes,
    /// What else its sender is told.
    pub receipt: Receipt,
}

impl Ingest {
    /// Opens the way into the hot store.
    pub fn new(hot: &Hot, ids: Arc<IdGenerator>, settings: &Settings) -> Self {
        Self {
            acceptor: Acceptor::open(hot, settings),
            ids,
            clock: Box::new(SystemClock),
            rate: settings.limits.messages,
            list_url: settings.public.list_url.clone(),
            reception: Reception::of("messages"),
        }
    }

    /// Accepts one message.
    pub async fn accept(&self, new: NewMessage, sending: Sending) -> Result<Accepted, Problem> {
        let message = self.make(new);
        let copy = NewCopy::from(&message);
        let json = copy.json.clone();
        match self.write(vec![copy], sending).await? {
            Written::Now(limit) => Ok(Accepted { message, json, receipt: Receipt::New(limit) }),
            Written::Before(before) => {
                // The same was sent: with its first id and moment, it is the first message.
                let id = before.ids.first().copied().unwrap_or(message.id);
                let message = message.accepted_as(id, before.accepted_at);
                let json = message.to_json().into();
                Ok(Accepted { message, json, receipt: Receipt::Replayed })
            }
        }
    }

    /// Accepts the messages of a batch, all or none; gives their ids in order.
    pub async fn accept_all(
        &self,
        new: Vec<NewMessage>,
        sending: Sending,
    ) -> Result<(Vec<MessageId>, Receipt), Problem> {
        let copies: Vec<_> = new.into_iter().map(|new| NewCopy::from(&self.make(new))).collect();
        let ids = copies.iter().map(|copy| copy.id).collect();
        match self.write(copies, sending).await? {
            Written::Now(limit) => Ok((ids, Receipt::New(limit))),
            Written::Before(before) => Ok((before.ids, Receipt::Replayed)),
        }
    }

    /// The public place of a path of list-api.
    pub fn location(&self, path: std::fmt::Arguments<'_>) -> String {
        format!("{}{path}", self.list_url)
    }

    fn make(&self, new: NewMessage) -> Message {
        let now = self.clock.now();
        new.accept(self.ids.next_id(now), now)
    }

    async fn write(
        &self,
        messages: Vec<NewCopy>,
        sending: Sending,
    ) -> Result<Written<Before>, Problem> {
        let began = Instant::now();
        let count = messages.len();
        let limit = sending.limit(self.rate);
        let write = Write { messages, origin: sending.origin, limit, once: sending.once };
        self.reception.receive(self.acceptor.accept(write).await, count, began)
    }
}
