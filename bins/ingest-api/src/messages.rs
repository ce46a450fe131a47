//! Ingestion of messages.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{Clock, IdGenerator, Message, MessageId, NewMessage, SystemClock};
use mayfly_hot::{HotStore, MessageWrite, MessageWriteRequest, MessageWriter, ReplayedWrite};
use mayfly_http::Problem;
use mayfly_runtime::{Settings, settings::Rate};

use crate::{client_identity::WriteContext, outcome::OutcomeMapper, write_response::WriteResponse};

/// Accepts messages. Each HTTP thread has its own instance.
pub struct MessageIngestion {
    writer: MessageWriter,
    /// Shared by all threads, so that the IDs of a process increase within a millisecond too.
    ids: Arc<IdGenerator>,
    clock: Box<dyn Clock>,
    /// The limit per client.
    rate: Option<Rate>,
    /// The prefix of `Location`; empty if clients use one origin.
    list_url: String,
    outcomes: OutcomeMapper,
}

/// An accepted message.
pub struct AcceptedMessage {
    /// The message.
    pub message: Message,
    /// The message as JSON.
    pub json: Bytes,
    /// The response to its write.
    pub response: WriteResponse,
}

impl MessageIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(hot: &HotStore, ids: Arc<IdGenerator>, settings: &Settings) -> Self {
        Self {
            writer: MessageWriter::start(hot, settings),
            ids,
            clock: Box::new(SystemClock),
            rate: settings.limits.messages,
            list_url: settings.public.list_url.clone(),
            outcomes: OutcomeMapper::new("messages"),
        }
    }

    /// Accepts one message.
    pub async fn accept(
        &self,
        new: NewMessage,
        context: WriteContext,
    ) -> Result<AcceptedMessage, Problem> {
        let message = self.create_message(new);
        let copy = MessageWrite::from(&message);
        let json = copy.json.clone();
        match self.write(vec![copy], context).await? {
            WriteResponse::New(limit) => {
                Ok(AcceptedMessage { message, json, response: WriteResponse::New(limit) })
            }
            WriteResponse::Replayed(before) => {
                // The request is equal, so the stored ID and time make it the first message.
                let id = before.ids.first().copied().unwrap_or(message.id);
                let message = message.reissue(id, before.accepted_at);
                let json = message.to_json().into();
                Ok(AcceptedMessage { message, json, response: WriteResponse::Replayed(()) })
            }
        }
    }

    /// Accepts a batch of messages atomically and returns their IDs in order.
    pub async fn accept_batch(
        &self,
        new: Vec<NewMessage>,
        context: WriteContext,
    ) -> Result<(Vec<MessageId>, WriteResponse), Problem> {
        let copies: Vec<_> =
            new.into_iter().map(|new| MessageWrite::from(&self.create_message(new))).collect();
        let ids = copies.iter().map(|copy| copy.id).collect();
        match self.write(copies, context).await? {
            WriteResponse::New(limit) => Ok((ids, WriteResponse::New(limit))),
            WriteResponse::Replayed(before) => Ok((before.ids, WriteResponse::Replayed(()))),
        }
    }

    /// Returns the public URL of a path of list-api.
    pub fn list_url(&self, path: std::fmt::Arguments<'_>) -> String {
        format!("{}{path}", self.list_url)
    }

    fn create_message(&self, new: NewMessage) -> Message {
        let now = self.clock.now();
        new.accept(self.ids.next_id(now), now)
    }

    async fn write(
        &self,
        messages: Vec<MessageWrite>,
        context: WriteContext,
    ) -> Result<WriteResponse<ReplayedWrite>, Problem> {
        let started = Instant::now();
        let count = messages.len();
        let limit = context.limit(self.rate);
        let write = MessageWriteRequest {
            messages,
            origin: context.origin,
            limit,
            idempotency: context.idempotency,
        };
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
