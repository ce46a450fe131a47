//! Accepts plays and writes them to Redis.

use std::time::Instant;

use mayfly_core::{Clock, Play, plays};
use mayfly_hot::{ExhaustedClients, HotStore, PlayWriteRequest, PlayWriter};
use mayfly_http::{Body, Problem};
use mayfly_runtime::Settings;
use uuid::Uuid;

use crate::{
    client_identity::{ClientIdentity, WriteContext},
    outcome::OutcomeMapper,
    rate_limits::RateLimits,
    write_response::WriteResponse,
};

/// The ingestion of plays. Each HTTP thread has its own instance.
pub struct PlayIngestion {
    writer: PlayWriter,
    /// Provides the Redis clock.
    hot: HotStore,
    limits: RateLimits,
    outcomes: OutcomeMapper,
}

impl PlayIngestion {
    /// Creates an instance that writes to `hot`.
    pub fn new(hot: &HotStore, settings: &Settings, clients: ExhaustedClients) -> Self {
        Self {
            writer: PlayWriter::start(hot, settings, clients.clone()),
            hot: hot.clone(),
            limits: RateLimits::new("plays", settings.limits.plays, |limits| limits.plays, clients),
            outcomes: OutcomeMapper::new("plays"),
        }
    }

    /// Rejects a request before it is parsed if even one play would exceed the rate limit or the
    /// capacity of the writer. `bytes` is the size of the body.
    pub fn check(&self, client: &ClientIdentity, bytes: usize) -> Result<(), Problem> {
        self.check_items(client, bytes, 1)
    }

    /// Does the same as [`Self::check`] for a request with `items` plays.
    pub fn check_items(
        &self,
        client: &ClientIdentity,
        bytes: usize,
        items: usize,
    ) -> Result<(), Problem> {
        self.limits.check(client, items)?;
        Ok(self.writer.check_capacity(bytes)?)
    }

    /// Accepts plays atomically. `body` is the request body that contained the plays.
    pub async fn accept(
        &self,
        plays: Vec<Play>,
        context: WriteContext,
        body: Body,
    ) -> Result<WriteResponse, Problem> {
        let started = Instant::now();
        let count = plays.len();
        self.hot.synchronize_clock().await?;
        let enqueued_at = self.hot.clock().now();
        let json = plays::Plays { id: Uuid::now_v7(), enqueued_at, plays: &plays }.to_json().into();
        drop(plays);
        let limit = self.limits.find(&context.client);
        let write = PlayWriteRequest {
            count,
            json,
            origin: context.origin,
            limit,
            idempotency: context.idempotency,
        };
        let _memory = body.release(write.weight())?;
        self.outcomes.map(self.writer.write(write).await, count, started)
    }
}
