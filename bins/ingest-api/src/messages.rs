//! Accepts messages and writes them to Redis.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{Clock, IdGenerator, Message, MessageId, NewMessage};
use mayfly_hot::{
    ExhaustedClients, HotStore, MessageWrite, MessageWriteRequest, MessageWriter, ReplayedWrite,
};
use mayfly_http::{Body, Problem};
use mayfly_runtime::Settings;

use crate::{
    client_identity::{ClientIdentity, WriteContext},
    outcome::OutcomeMapper,
    rate_limits::RateLimits,
    write_response::WriteResponse,
};

/// The ingestion of messages. Each HTTP thread has its own instance.
pub struct MessageIngestion {
    writer: MessageWriter,
    /// Shared by all threads, so that the IDs from one process increase even within one
    /// millisecond.
    ids: Arc<IdGenerator>,
    /// Provides the Redis clock, so that a message expires on time even if this machine's clock is
    /// wrong.
    hot: HotStore,
    limits: RateLimits,
    /// The prefix of `Location` URLs. Empty if clients reach all services at one origin.
    list_url: String,
    outcomes: OutcomeMapper,
}

/// An accepted message.
pub struct AcceptedMessage {
    /// The message.
    pub message: Message,
    /// The message as JSON.
    pub json: Bytes,
    /// The response to the write.
    pub response: WriteResponse,
}

impl MessageIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(
        hot: &HotStore,
        ids: Arc<IdGenerator>,
        settings: &Settings,
        clients: ExhaustedClients,
    ) -> Self {
        Self {
            writer: MessageWriter::start(hot, settings, clients.clone()),
            ids,
            hot: hot.clone(),
            limits: RateLimits::new(
                "messages",
                settings.limits.messages,
                |limits| limits.messages,
                clients,
            ),
            list_url: settings.public.list_url.clone(),
            outcomes: OutcomeMapper::new("messages"),
        }
    }

    /// Rejects a request before it is parsed if even one message would exceed the rate limit or the
    /// capacity of the writer. `bytes` is the size of the body or query.
    pub fn check(&self, client: &ClientIdentity, bytes: usize) -> Result<(), Problem> {
        self.check_items(client, bytes, 1)
    }

    /// Does the same as [`Self::check`] for a request with `items` messages.
    pub fn check_items(
        &self,
        client: &ClientIdentity,
        bytes: usize,
        items: usize,
    ) -> Result<(), Problem> {
        self.limits.check(client, items)?;
        Ok(self.writer.check_capacity(bytes, items)?)
    }

    /// Accepts one message, or returns the earlier message if the request is a retry. `body` is the
    /// request body that contained the message. It is `None` if the query contained the message.
    pub async fn accept(
        &self,
        new: NewMessage,
        context: WriteContext,
        body: Option<Body>,
    ) -> Result<AcceptedMessage, Problem> {
        self.hot.synchronize_clock().await?;
        let message = self.create_message(new);
        let copy = MessageWrite::from(&message);
        let json = copy.json.clone();
        match self.write(vec![copy], context, body).await? {
            WriteResponse::New(limit) => {
                Ok(AcceptedMessage { message, json, response: WriteResponse::New(limit) })
            }
            WriteResponse::Replayed(before) => {
                // The request repeats an earlier one, so the stored ID and time reproduce the
                // earlier message.
                let id = before.ids.first().copied().unwrap_or(message.id);
                let message = message.reissue(id, before.accepted_at);
                let json = message.to_json().into();
                Ok(AcceptedMessage { message, json, response: WriteResponse::Replayed(()) })
            }
        }
    }

    /// Accepts a batch of messages atomically and returns their IDs in order. If the request is a
    /// retry, returns the IDs of the earlier messages. `body` is the request body that contained
    /// the messages.
    pub async fn accept_batch(
        &self,
        new: Vec<NewMessage>,
        context: WriteContext,
        body: Body,
    ) -> Result<(Vec<MessageId>, WriteResponse), Problem> {
        self.hot.synchronize_clock().await?;
        let copies: Vec<_> =
            new.into_iter().map(|new| MessageWrite::from(&self.create_message(new))).collect();
        let ids = copies.iter().map(|copy| copy.id).collect();
        match self.write(copies, context, Some(body)).await? {
            WriteResponse::New(limit) => Ok((ids, WriteResponse::New(limit))),
            WriteResponse::Replayed(before) => Ok((before.ids, WriteResponse::Replayed(()))),
        }
    }

    /// Returns the public URL of a message under a path of list-api, such as `/v1/messages/`.
    pub fn message_url(&self, path: &str, id: MessageId) -> String {
        [&self.list_url, path, id.encode(&mut [0; MessageId::TEXT_BYTES])].concat()
    }

    fn create_message(&self, new: NewMessage) -> Message {
        let now = self.hot.clock().now();
        new.accept(self.ids.next_id(now), now)
    }

    async fn write(
        &self,
        messages: Vec<MessageWrite>,
        context: WriteContext,
        body: Option<Body>,
    ) -> Result<WriteResponse<ReplayedWrite>, Problem> {
        let started = Instant::now();
        let count = messages.len();
        let limit = self.limits.find(&context.client);
        let write = MessageWriteRequest {
            messages,
            origin: context.origin,
            limit,
            idempotency: context.idempotency,
        };
        let _memory = body.map(|body| body.release(write.weight())).transpose()?;
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
